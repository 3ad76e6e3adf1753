-- Everybody who is signed in may read and write in rooms, and see who is there.
create policy "rooms" on realtime.messages for select to authenticated
  using (realtime.topic() like 'room:%');
create policy "write in rooms" on realtime.messages for insert to authenticated
  with check (realtime.topic() like 'room:%');

-- A user's own channel: nobody else reads it, and only the server writes there.
create policy "own channel" on realtime.messages for select to authenticated
  using (realtime.topic() = 'user:' || (select auth.uid())::text);

-- Members of a team, in a table of yours, and only broadcasts, no presence.
create policy "team" on realtime.messages for select to authenticated
  using (
    extension = 'broadcast'
    and exists (
      select from public.team_members
      where user_id = (select auth.uid()) and realtime.topic() = 'team:' || team_id
    )
  );

-- Whoever has a claim of your own in its token.
create policy "announcements" on realtime.messages for insert to authenticated
  with check (realtime.topic() = 'announcements' and (select auth.jwt() ->> 'plan') = 'pro');
