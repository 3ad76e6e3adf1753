import os

from django.core.asgi import get_asgi_application

import pgcast

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

server = pgcast.MountedServer(DATABASE_URL=os.environ["DATABASE_URL"], SECURE_CHANNELS="false")


@server.on("todos", events=["INSERT"])
async def note(change: pgcast.PlainChange) -> None:
    if change.record is not None:
        print("new:", change.record["title"], flush=True)


application = server.wrap(get_asgi_application())
