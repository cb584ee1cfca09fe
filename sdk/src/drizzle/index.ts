/**
 * `realtime-worker/drizzle`: the outbox as a Drizzle table, with statements that fit into Drizzle's batches.
 *
 * @module
 */
import { sql } from "drizzle-orm";
import type { BatchItem } from "drizzle-orm/batch";
import { type BaseSQLiteDatabase, index, integer, sqliteTable, text, unique } from "drizzle-orm/sqlite-core";
import { INSERT } from "../server/outbox.ts";
import type { Sql, SqlValue } from "../server/sql.ts";

/**
 * The outbox's table. Export it from the schema, and `drizzle-kit` creates and maintains it.
 *
 * @example
 * ```ts
 * import { realtimeOutbox } from "realtime-worker/drizzle";
 *
 * export { realtimeOutbox }; // in schema.ts
 * ```
 */
export const realtimeOutbox = sqliteTable(
	"realtime_outbox",
	{
		position: integer("position").primaryKey({ autoIncrement: true }),
		organizationId: text("organization_id").notNull(),
		id: text("id").notNull(),
		message: text("message").notNull(),
		createdAt: integer("created_at").notNull(),
		error: text("error"),
	},
	(table) => [
		unique().on(table.organizationId, table.id),
		index("realtime_outbox_waiting").on(table.organizationId, table.position).where(sql`error IS NULL`),
	],
);

/** A Drizzle statement that a batch accepts, and that runs when it is awaited. */
export type DrizzleStatement = BatchItem<"sqlite"> & PromiseLike<unknown>;

/**
 * A Drizzle database for the outbox: its statements fit into `db.batch` beside Drizzle's own.
 *
 * @example
 * ```ts
 * import { drizzle } from "drizzle-orm/d1";
 * import { sql } from "drizzle-orm";
 * import { drizzleSql } from "realtime-worker/drizzle";
 * import { createRealtime } from "realtime-worker/server";
 *
 * const db = drizzle(env.DB);
 * const outbox = createRealtime(env).outbox(drizzleSql(db));
 * await db.batch([
 *   db.run(sql`UPDATE claims SET status = 'closed' WHERE id = 'c1'`),
 *   outbox.broadcast("claim-closed", { id: "c1" }, orgId),
 * ]);
 * await outbox.flush({ organizationId: orgId });
 * ```
 */
export function drizzleSql(database: BaseSQLiteDatabase<"async", any, any>): Sql<DrizzleStatement> {
	return {
		statement(text: string, values: SqlValue[]) {
			if (text === INSERT) return database.insert(realtimeOutbox).values(outboxRow(values)).onConflictDoNothing() as DrizzleStatement;
			const parts = text.split("?");
			return database.all(sql(Object.assign(parts, { raw: parts }), ...values)) as DrizzleStatement;
		},
		run: async (statement) => ((await statement) ?? []) as object[],
	};
}

/** Drizzle's batch does not accept a raw statement with values, so the application receives a Drizzle insert. */
function outboxRow(values: SqlValue[]): typeof realtimeOutbox.$inferInsert {
	const [organizationId, id, message, createdAt] = values as [string, string, string, number];
	return { organizationId, id, message, createdAt };
}
