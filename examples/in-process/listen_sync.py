import os

import pgcast

with pgcast.listen_sync(os.environ["DATABASE_URL"], tables="todos", slot="listener") as changes:
    print("listening", flush=True)
    for change in changes:
        print(change.event, change.old_record, change.record, flush=True)
