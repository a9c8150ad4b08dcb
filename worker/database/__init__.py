"""Everything that talks to PostgreSQL: connections, the embedded server, the schema, and what this database has."""
