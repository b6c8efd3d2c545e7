"""Opens doc.odt in LibreOffice, writes into it and saves it, twice; `new` makes it."""

import os
import subprocess
import sys
import time

import uno
from com.sun.star.beans import PropertyValue

HIDDEN = (PropertyValue(Name="Hidden", Value=True),)
PIPE = f"pipe,name=lendfs-{os.getpid()};urp;"


def connect(office):
    local = uno.getComponentContext()
    resolver = local.ServiceManager.createInstanceWithContext("com.sun.star.bridge.UnoUrlResolver", local)
    while office.poll() is None:
        try:
            context = resolver.resolve(f"uno:{PIPE}StarOffice.ComponentContext")
            return context.ServiceManager.createInstanceWithContext("com.sun.star.frame.Desktop", context)
        except Exception:
            time.sleep(0.05)
    sys.exit("LibreOffice ended")


def edit(desktop, url):
    for word in "second", "third":
        document = desktop.loadComponentFromURL(url, "_blank", 0, HIDDEN)
        if document.isReadonly():
            raise PermissionError("LibreOffice opens the document read-only")
        document.Text.insertString(document.Text.End, word, False)
        document.store()
        document.close(True)


def make(desktop, url):
    document = desktop.loadComponentFromURL("private:factory/swriter", "_blank", 0, HIDDEN)
    document.Text.String = "first"
    document.storeAsURL(url, ())
    document.close(True)


office = subprocess.Popen(["soffice", "--headless", "--norestore", "--nologo", f"--accept={PIPE}"])
desktop = connect(office)
status = 0
try:
    (make if sys.argv[1:] == ["new"] else edit)(desktop, uno.systemPathToFileUrl(os.path.abspath("doc.odt")))
except Exception as error:
    print(error)
    status = 1
try:
    desktop.terminate()
except Exception:
    pass
office.wait()
sys.exit(status)
