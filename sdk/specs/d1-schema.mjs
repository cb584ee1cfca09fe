/**
 * A Drizzle schema with every kind of column, and the tables of it that are published.
 */
import { blob, integer, numeric, primaryKey, real, sqliteTable, text } from "drizzle-orm/sqlite-core";
import { sql } from "drizzle-orm";
import { defineTable } from "realtime-worker/server";

export const projects = sqliteTable("projects", { id: text().primaryKey(), orgId: text("org_id").notNull() });

export const claims = sqliteTable("claims", {
	id: text().primaryKey(),
	orgId: text("org_id"),
	projectId: text("project_id").references(() => projects.id, { onDelete: "cascade", onUpdate: "cascade" }),
	title: text(),
	version: integer().default(0),
	ssn: text(),
});

/** More columns than a function of D1 accepts arguments. */
export const kinds = sqliteTable("all kinds", {
	id: integer().primaryKey({ autoIncrement: true }),
	orgId: text("org_id").notNull(),
	text: text(),
	json: text({ mode: "json" }),
	flag: integer({ mode: "boolean" }),
	at: integer({ mode: "timestamp" }),
	atMs: integer("at_ms", { mode: "timestamp_ms" }),
	number: real(),
	decimal: numeric(),
	decimalNumber: numeric({ mode: "number" }),
	blobJson: blob({ mode: "json" }),
	doubled: integer().generatedAlwaysAs(sql`id * 2`),
	"it's a \u00e9 key": text('column "named"'),
	...Object.fromEntries(Array.from({ length: 20 }, (_, n) => [`more${n}`, text()])),
});

/** A key of two columns. */
export const members = sqliteTable(
	"members",
	{ orgId: text("org_id").notNull(), userId: text("user_id").notNull(), role: text() },
	(table) => [primaryKey({ columns: [table.orgId, table.userId] })],
);

export const schema = { projects, claims, kinds, members };
export const tables = {
	projects: defineTable({ organization: "orgId", onInsert: false }),
	claims: defineTable({ organization: "orgId", masking: { ssn: { type: "ssn", show: { roles: ["admin"] } } } }),
	kinds: defineTable({ organization: "orgId" }),
	"hr.members": defineTable({ organization: "orgId", requiredRoles: ["admin"] }),
};
