CREATE FUNCTION tell_room() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    PERFORM realtime.broadcast_changes(
        'room:' || coalesce(NEW.room_id, OLD.room_id),  -- topic
        TG_OP, TG_OP, TG_TABLE_NAME, TG_TABLE_SCHEMA, NEW, OLD
    );
    RETURN NULL;
END;
$$;

CREATE TRIGGER tell_room AFTER INSERT OR UPDATE OR DELETE ON messages
FOR EACH ROW EXECUTE FUNCTION tell_room();
