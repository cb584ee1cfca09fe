/**
 * A real D1 with the tables of d1-schema.mjs and their triggers, beside the built Worker.
 */
import { drizzle } from "drizzle-orm/d1";
import { triggers } from "realtime-worker/d1";
import { createRealtime, realtimeVariable } from "realtime-worker/server";
import { ACCESS_TOKEN, start } from "../../miniflare/fixture.mjs";
import { schema, tables } from "./d1-schema.mjs";

/** A handler as in any API: it reads a row, and writes what it derives from it. */
const script = `export default {
	async fetch(request, { DB }) {
		const { id, writer } = await request.json();
		const { version } = await DB.prepare("SELECT version FROM claims WHERE id = ?").bind(id).first();
		await DB.prepare("UPDATE claims SET title = ?, version = ? WHERE id = ?").bind(writer, version + 1, id).run();
		return new Response();
	},
}`;
const api = { name: "api", modules: true, script, compatibilityDate: "2026-07-30", d1Databases: ["DB"] };

const more = Array.from({ length: 20 }, (_, n) => `more${n} TEXT`).join();
/** The tables, as a Drizzle migration would create them. */
export const TABLES = [
	"CREATE TABLE projects (id TEXT PRIMARY KEY, org_id TEXT NOT NULL)",
	`CREATE TABLE claims (id TEXT PRIMARY KEY, org_id TEXT, project_id TEXT REFERENCES projects (id) ON DELETE CASCADE ON UPDATE CASCADE,
		title TEXT, version INTEGER DEFAULT 0, ssn TEXT)`,
	`CREATE TABLE "all kinds" (id INTEGER PRIMARY KEY AUTOINCREMENT, org_id TEXT NOT NULL, text TEXT, json TEXT, flag INTEGER, at INTEGER,
		at_ms INTEGER, number REAL, decimal NUMERIC, decimalNumber NUMERIC, blobJson BLOB, doubled INTEGER GENERATED ALWAYS AS (id * 2),
		"column ""named""" TEXT, ${more})`,
	"CREATE TABLE members (org_id TEXT NOT NULL, user_id TEXT NOT NULL, role TEXT, PRIMARY KEY (org_id, user_id))",
];

/** Starts both, and returns the database, Drizzle's view of it, the outbox, and the triggers. */
export async function startD1() {
	const server = await start(realtimeVariable({ tables }), { workers: [api] });
	const db = await server.mf.getD1Database("DB", "api");
	const made = triggers({ tables, schema });
	await db.batch([...TABLES, ...made.statements].map((statement) => db.prepare(statement)));
	const env = { REALTIME_URL: server.url, ACCESS_TOKEN };
	const outbox = createRealtime(env, { tables, retry: { delay: 1 } }).outbox(db);
	return { server, db, orm: drizzle(db), env, outbox, made };
}

/** The waiting messages of the outbox, oldest first, which are removed. */
export async function take(db) {
	const { results } = await db.prepare("DELETE FROM realtime_outbox RETURNING *").all();
	return results
		.sort((one, other) => one.position - other.position)
		.map(({ id, message, organization_id: organizationId }) => ({ organizationId, id, ...JSON.parse(message) }));
}
