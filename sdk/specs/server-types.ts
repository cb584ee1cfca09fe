/**
 * What the compiler takes and what it refuses. Nothing here runs: `server-types.spec.mjs` compiles it.
 */
import { eq } from "drizzle-orm";
import type { DrizzleD1Database } from "drizzle-orm/d1";
import { integer, sqliteTable, text } from "drizzle-orm/sqlite-core";
import { createClient, type DefinitionsOf } from "realtime-worker/client";
import { triggers } from "realtime-worker/d1";
import { drizzleSql } from "realtime-worker/drizzle";
import {
	createRealtime,
	defineRealtime,
	defineTable,
	type JsonOf,
	payload,
	type RealtimeErrorCode,
	type Receipt,
	realtimeVariable,
	type Sql,
} from "realtime-worker/server";

declare const url: { REALTIME_URL: string; ACCESS_TOKEN: string };
declare const orgId: string;

/** The shapes of D1 and of a service binding, as the Workers runtime's types have them. */
interface D1Database {
	prepare(query: string): D1PreparedStatement;
	batch<T = unknown>(statements: D1PreparedStatement[]): Promise<{ results: T[] }[]>;
}
interface D1PreparedStatement {
	bind(...values: unknown[]): D1PreparedStatement;
	all<T = Record<string, unknown>>(): Promise<{ results: T[]; success: true }>;
}
interface Fetcher {
	fetch(input: RequestInfo | URL, init?: RequestInit): Promise<Response>;
}
declare const bound: { REALTIME: Fetcher; ACCESS_TOKEN: string; DB: D1Database };

interface Claim {
	id: string;
	title: string;
	open: boolean;
}
declare const claim: Claim;

// Without tables, any table and any row.
const plain = createRealtime(url);
const receipt: Promise<Receipt | undefined> = plain.insert("claims", claim, orgId);
plain.update("claims", { id: "c1" }, null, orgId, { targetRoles: ["admin"], signal: AbortSignal.timeout(1) });
plain.delete("claims", { id: "c1" }, orgId, { userId: "u7", fields: ["id"] });
plain.broadcast("any", [1, "two", null], orgId, { topic: "room:1", private: false });
plain.broadcast("waveform", "AAEC", orgId, { encoding: "base64", history: false });
plain.insert("claims", claim, orgId, { columns: { title: "text" }, history: false });
createRealtime(bound).insert("claims", claim, orgId);
// @ts-expect-error the organization is missing
plain.insert("claims", claim);
// @ts-expect-error a row is an object
plain.insert("claims", "c1", orgId);
// @ts-expect-error no such option
plain.insert("claims", claim, orgId, { targetRole: ["admin"] });
// @ts-expect-error an option of changes only
plain.broadcast("any", {}, orgId, { fields: ["id"] });
// @ts-expect-error an option of changes only
plain.broadcast("any", {}, orgId, { columns: { id: "int8" } });
// @ts-expect-error an option of broadcasts only
plain.insert("claims", claim, orgId, { encoding: "base64" });
// @ts-expect-error no such encoding
plain.broadcast("any", "00", orgId, { encoding: "hex" });
// @ts-expect-error no such mask
plain.insert("claims", claim, orgId, { maskingConfig: { title: { type: "blur" } } });
// @ts-expect-error an undefined user is everyone
plain.insert("claims", claim, orgId, { userId: undefined });
// @ts-expect-error no such function
plain.extraction.started({}, orgId);
// @ts-expect-error the token is missing
createRealtime({ REALTIME_URL: "" });

// With tables, their names and their columns.
const tables = {
	claims: defineTable<Claim>({ fields: ["id", "title"], masking: { title: { type: "name" } }, ownerField: "id" }),
	"billing.invoices": defineTable(),
};
const typed = createRealtime(url, { tables });
typed.insert("claims", claim, orgId, { fields: ["id"], columns: { id: "uuid" }, maskingConfig: { "title.first": { type: "redact" } } });
typed.update("claims", { open: false }, { open: true }, orgId);
typed.delete("billing.invoices", { number: 7 }, orgId);
// @ts-expect-error no such table
typed.insert("claim", claim, orgId);
// @ts-expect-error no such column
typed.insert("claims", { id: "c1", titel: "" }, orgId);
// @ts-expect-error a column of another type
typed.update("claims", { open: "no" }, null, orgId);
// @ts-expect-error no such column
typed.insert("claims", claim, orgId, { fields: ["titel"] });
// @ts-expect-error no such column
typed.insert("claims", claim, orgId, { columns: { titel: "text" } });
// @ts-expect-error no such column
typed.insert("claims", claim, orgId, { maskingConfig: { titel: { type: "redact" } } });
// @ts-expect-error no such column
defineTable<Claim>({ fields: ["titel"] });
// @ts-expect-error no such column
defineTable<Claim>({ masking: { titel: { type: "redact" } } });
// @ts-expect-error no such option
defineTable<Claim>({ requiredRole: ["admin"] });
// @ts-expect-error a table is missing
realtimeVariable({ channels: [] });

// With namespaces, their events and payloads.
const extraction = defineRealtime({
	name: "extraction",
	events: { started: payload<{ materialId: string }>(), stopped: payload<null>() },
	description: "Material extraction pipeline events",
});
const notifications = defineRealtime({ name: "notifications", events: ["new", "read"] });
const spaces = createRealtime(url, { tables, namespaces: [extraction, notifications] });
spaces.extraction.started({ materialId: "m1" }, orgId, { userId: "u7" });
spaces.extraction.stopped(null, orgId);
spaces.notifications.new({ any: "thing" }, orgId);
// @ts-expect-error a wrong payload
spaces.extraction.started({ materialId: 1 }, orgId);
// @ts-expect-error a payload that lacks a key
spaces.extraction.started({}, orgId);
// @ts-expect-error no such event
spaces.extraction.begun({}, orgId);
// @ts-expect-error no such event
spaces.notifications.dismissed({}, orgId);
// @ts-expect-error no such namespace
spaces.presence.joined({}, orgId);

// In a batch the same, without an organization.
spaces.batch(orgId, (batch) => {
	batch.insert("claims", claim, { userId: "u7" });
	batch.extraction.started({ materialId: "m1" });
	// @ts-expect-error no such table
	batch.insert("claim", claim);
	// @ts-expect-error a wrong payload
	batch.extraction.started({ materialId: 1 });
	// @ts-expect-error the batch has an organization
	batch.insert("claims", claim, orgId);
	// @ts-expect-error the batch is sent as one
	batch.insert("claims", claim, { signal: AbortSignal.timeout(1) });
});

// In an outbox the same, and what comes back are the database's own statements.
const outbox = spaces.outbox(bound.DB);
bound.DB.batch([outbox.insert("claims", claim, orgId), outbox.extraction.started({ materialId: "m1" }, orgId)]);
declare const sql: Sql<{ text: string }>;
const statement: { text: string } = plain.outbox(sql).broadcast("any", {}, orgId);
// @ts-expect-error no such table
outbox.insert("claim", claim, orgId);
// @ts-expect-error a wrong payload
outbox.extraction.started({ materialId: 1 }, orgId);
// @ts-expect-error no database
spaces.outbox({});

// Rows and statements of Drizzle. What is published is a row as it is stored, or as JSON has it.
const events = sqliteTable("events", {
	id: text("id").primaryKey(),
	orgId: text("org_id").notNull(),
	at: integer("at", { mode: "timestamp" }).notNull(),
	tags: text("tags", { mode: "json" }).$type<string[]>(),
});
const stored = { events: defineTable<typeof events.$inferSelect>({ organization: "orgId", fields: ["id", "at"] }) };
const drizzled = createRealtime(bound, { tables: stored });
drizzled.insert("events", { id: "e1", at: new Date() }, orgId);
drizzled.insert("events", { id: "e1", at: new Date().toJSON(), tags: ["a"] }, orgId);
// @ts-expect-error neither a date nor its text
drizzled.insert("events", { id: "e1", at: 7 }, orgId);
// @ts-expect-error no such column
defineTable<typeof events.$inferSelect>({ organization: "org_id" });
const row: JsonOf<typeof events.$inferSelect> = { id: "e1", orgId, at: "2026-01-01T00:00:00.000Z", tags: null };
const client = createClient<DefinitionsOf<{ tables: typeof stored }>>("https://example.com", { organizationId: "org_1", token: "token" });
client.on("events", "INSERT", ({ new: event }) => event.at.slice(0, 10));
declare const drizzle: DrizzleD1Database;
const drizzleOutbox = drizzled.outbox(drizzleSql(drizzle));
drizzle.batch([
	drizzle.update(events).set({ at: new Date() }).where(eq(events.id, "e1")),
	drizzleOutbox.broadcast("noted", { id: "e1" }, orgId),
]);
triggers({ tables: stored, schema: { events, other: 7 }, casing: "snake_case", kinds: { events: { tags: "omit" } } });
// @ts-expect-error no such kind
triggers({ tables: stored, schema: { events }, kinds: { events: { tags: "bytes" } } });

const code: RealtimeErrorCode = "rate_limited";
export { code, row, receipt, statement };
