/**
 * The databases that an outbox can use, and its table there.
 */

/** A value in a statement. */
export type SqlValue = string | number;

/**
 * What an outbox requires of a database: statements that the application can put into its own transaction, and running
 * one. The statements have `?` for each value; `sql.replace(/\?/g, () => "$" + ++n)` numbers them for PostgreSQL.
 *
 * @example
 * ```ts
 * import { DatabaseSync } from "node:sqlite";
 * import { createRealtime, OUTBOX_TABLE, type Sql } from "realtime-worker/server";
 *
 * const database = new DatabaseSync(":memory:");
 * database.exec(OUTBOX_TABLE);
 *
 * type Statement = { sql: string; values: (string | number)[] };
 * const sql: Sql<Statement> = {
 *   statement: (sql, values) => ({ sql, values }),
 *   run: async ({ sql, values }) => database.prepare(sql).all(...values),
 * };
 *
 * const outbox = createRealtime(env).outbox(sql);
 * const { sql: text, values } = outbox.insert("claims", { id: "c1" }, orgId);
 * database.exec("BEGIN");
 * // ... the row itself
 * database.prepare(text).run(...values);
 * database.exec("COMMIT");
 * await outbox.flush();
 * ```
 */
export interface Sql<Statement> {
	/** A statement with its values, not run yet. */
	statement(sql: string, values: SqlValue[]): Statement;
	/** Runs one, and returns its rows. */
	run(statement: Statement): Promise<readonly object[]>;
}

/** What an outbox requires of a D1 database. */
export interface D1<Statement extends D1Statement> {
	prepare(sql: string): { bind(...values: SqlValue[]): Statement };
}

/** What an outbox requires of a D1 statement. */
export interface D1Statement {
	all(): Promise<{ readonly results: readonly object[] }>;
}

/** A D1 database as {@link Sql}. */
export function d1<Statement extends D1Statement>(database: D1<Statement>): Sql<Statement> {
	return {
		statement: (sql, values) => database.prepare(sql).bind(...values),
		run: async (statement) => (await statement.all()).results,
	};
}

/**
 * The outbox's table for D1 and SQLite: a migration.
 *
 * @example
 * ```ts
 * import { OUTBOX_TABLE } from "realtime-worker/server";
 *
 * console.log(OUTBOX_TABLE); // into migrations/0001_realtime_outbox.sql
 * ```
 */
export const OUTBOX_TABLE = `CREATE TABLE IF NOT EXISTS realtime_outbox (
  position INTEGER PRIMARY KEY AUTOINCREMENT,
  organization_id TEXT NOT NULL,
  id TEXT NOT NULL,
  message TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  error TEXT,
  UNIQUE (organization_id, id)
);
CREATE INDEX IF NOT EXISTS realtime_outbox_waiting ON realtime_outbox (organization_id, position) WHERE error IS NULL;
`;

/**
 * The outbox's table for PostgreSQL. For overlapping transactions, positions may differ from the commit order.
 *
 * @example
 * ```ts
 * import { OUTBOX_TABLE_POSTGRES } from "realtime-worker/server";
 *
 * console.log(OUTBOX_TABLE_POSTGRES); // into a migration
 * ```
 */
export const OUTBOX_TABLE_POSTGRES = `CREATE TABLE IF NOT EXISTS realtime_outbox (
  position BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  organization_id TEXT NOT NULL,
  id TEXT NOT NULL,
  message TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  error TEXT,
  UNIQUE (organization_id, id)
);
CREATE INDEX IF NOT EXISTS realtime_outbox_waiting ON realtime_outbox (organization_id, position) WHERE error IS NULL;
`;
