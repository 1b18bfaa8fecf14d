-- Format 3. The last notice of a workspace is found by the index alone, however many were deleted since the table was cleared up.

DROP INDEX notices_of;
CREATE INDEX notices_of ON notices (workspace, id);
