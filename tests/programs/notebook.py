"""Works on doc.ipynb as a Jupyter server does that is told to by a browser."""

import asyncio
import os

from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager


async def main():
    contents = AsyncLargeFileManager(root_dir=os.getcwd())
    for source in "first", "second":
        model = await contents.get("doc.ipynb")
        model["content"]["cells"][0]["source"] = source
        await contents.save(model, "doc.ipynb")
        await contents.create_checkpoint("doc.ipynb")
    await contents.new_untitled(type="notebook")
    await contents.rename("Untitled.ipynb", "named.ipynb")
    await contents.save({"type": "file", "format": "text", "content": "text"}, "notes.txt")
    await contents.save({"type": "directory"}, "made")


asyncio.run(main())
