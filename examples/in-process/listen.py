import asyncio
import os

import pgcast


async def main() -> None:
    async with pgcast.listen(os.environ["DATABASE_URL"], tables="todos", slot="listener") as changes:
        print("listening", flush=True)
        async for change in changes:
            print(change.event, change.old_record, change.record, flush=True)


asyncio.run(main())
