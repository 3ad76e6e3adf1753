import asyncio
import os

import pgcast

URL = os.environ["DATABASE_URL"]


async def main() -> None:
    async with (
        pgcast.listen(URL, tables="todos", slot="workers", ack="manual", max_unacknowledged=100) as changes,
        asyncio.TaskGroup() as tasks,
    ):
        print("listening", flush=True)
        async for change in changes:
            tasks.create_task(work(change))


async def work(change: pgcast.Change) -> None:
    await asyncio.sleep(0.1)  # whatever takes its time
    print(change.event, change.old_record, change.record, flush=True)
    await change.ack()


asyncio.run(main())
