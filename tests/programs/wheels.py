"""Makes two wheels of one package: the second changes a module, adds one, and lacks one."""

import zipfile

for version, modules in ("1.0", ("a", "b")), ("1.1", ("a", "c")):
    info = f"tiny-{version}.dist-info"
    files = {f"tiny/{name}.py": f"version = {version!r}\n" for name in modules}
    files["tiny/__init__.py"] = f"version = {version!r}\n"
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n"
    files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{info}/entry_points.txt"] = "[console_scripts]\ntiny = tiny:main\n"
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(f"tiny-{version}-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
