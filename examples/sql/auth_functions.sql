create schema if not exists auth;
grant usage on schema auth to public;

create or replace function auth.jwt() returns jsonb stable language sql
  as $$ select nullif(current_setting('request.jwt.claims', true), '')::jsonb $$;

create or replace function auth.uid() returns uuid stable language sql
  as $$ select nullif(current_setting('request.jwt.claim.sub', true), '')::uuid $$;
