/**
 * From a statement of SQL to a subscriber, over triggers, the outbox and the built Worker.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { drizzle } from "drizzle-orm/d1";
import { eq } from "drizzle-orm";
import { drift } from "realtime-worker/d1";
import { drizzleSql } from "realtime-worker/drizzle";
import { createRealtime } from "realtime-worker/server";
import { join, unread } from "../../miniflare/fixture.mjs";
import { claims, tables } from "./d1-schema.mjs";
import { startD1 } from "./d1-rig.mjs";

const { server, db, orm, env, outbox, made } = await startD1();
after(() => server.dispose());

const run = (sql, ...values) => db.prepare(sql).bind(...values).run();

test("of two writers at once, the last event of every row is the database's row", async () => {
	const organizationId = "org_race";
	const client = await join(server, "ada", ["admin"], { organizationId });
	const ids = Array.from({ length: 40 }, (_, n) => `r${n}`);
	for (const half of [ids.slice(0, 20), ids.slice(20)]) await orm.insert(claims).values(half.map((id) => ({ id, orgId: organizationId })));
	const api = await server.mf.getWorker("api");
	const write = async (writer, id, index) => {
		const { status } = await api.fetch("http://api", { method: "POST", body: JSON.stringify({ id, writer }) });
		assert.equal(status, 200);
		if (index % 10 === 0) await outbox.flush({ organizationId });
	};
	await Promise.all(ids.flatMap((id, index) => [write("one", id, index), write("two", id, index)]));
	await outbox.flush({ organizationId });
	const last = new Map((await unread(client)).map((event) => [event.new.id, event.new]));
	const rows = JSON.parse(JSON.stringify(await orm.select().from(claims).where(eq(claims.orgId, organizationId))));
	assert.equal(rows.length, 40);
	assert.deepEqual(rows.filter((row) => JSON.stringify(row) !== JSON.stringify(last.get(row.id))), []);
	await client.close();
});

test("plain SQL reaches subscribers, masked; cascades do too", async () => {
	const organizationId = "org_plain";
	const [ada, mel] = await Promise.all([["ada", ["admin"]], ["mel", ["member"]]].map(([user, roles]) => join(server, user, roles, { organizationId })));
	await run("INSERT INTO projects VALUES ('p1', ?)", organizationId);
	await run("INSERT INTO claims (id, org_id, project_id, ssn) VALUES ('c1', ?, 'p1', '123-45-6789')", organizationId);
	await run("UPDATE claims SET title = 'New' WHERE id = 'c1'");
	await run("UPDATE projects SET id = 'p2' WHERE id = 'p1'");
	await run("DELETE FROM projects");
	await outbox.flush({ organizationId });
	const summary = (frames) => frames.map(({ table, eventType, new: row, old }) => [table, eventType, row?.ssn ?? old?.ssn ?? null]);
	const events = (ssn) => [
		["claims", "INSERT", ssn],
		["claims", "UPDATE", ssn],
		["claims", "UPDATE", ssn],
		["projects", "DELETE", null],
		["claims", "DELETE", ssn],
		["projects", "DELETE", null],
	];
	const byKind = (frames) => summary(frames).map(String).sort();
	assert.deepEqual(byKind(await unread(ada)), events("123-45-6789").map(String).sort());
	assert.deepEqual(byKind(await unread(mel)), events("*****6789").map(String).sort());
	await Promise.all([ada.close(), mel.close()]);
});

test("statements of Drizzle and of the outbox are one batch", async () => {
	const organizationId = "org_batch";
	const client = await join(server, "ada", ["admin"], { organizationId });
	const own = drizzle(db);
	const over = createRealtime(env, { tables: { ...tables, quiet: { enabled: false } } }).outbox(drizzleSql(own));
	await own.batch([
		own.insert(claims).values({ id: "b1", orgId: organizationId }),
		over.broadcast("claimed", { id: "b1", note: "a ? and 'quotes'" }, organizationId),
		over.insert("quiet", {}, organizationId),
	]);
	const failing = own.batch([over.broadcast("never", 1, organizationId), own.insert(claims).values({ id: "b1", orgId: organizationId })]);
	await assert.rejects(failing);
	assert.deepEqual(await over.flush({ organizationId }), { published: 2, parked: 0, errors: [], more: false });
	const seen = (await unread(client)).map((frame) => frame.payload ?? frame.new.id);
	assert.deepEqual(seen, ["b1", { id: "b1", note: "a ? and 'quotes'" }]);
	assert.deepEqual(await over.flush(), { published: 0, parked: 0, errors: [], more: false });
	await client.close();
});

test("drift is told: a rebuilt table, another trigger, a forgotten one, a new column", async () => {
	const none = { missing: [], changed: [], extra: [], unknown: [] };
	assert.deepEqual(await drift(db, made), none);
	// As a migration of Drizzle rebuilds a table.
	await run("ALTER TABLE members RENAME TO old");
	await run("DROP TABLE old");
	await run("CREATE TABLE members (org_id TEXT, user_id TEXT, role TEXT, salary INTEGER)");
	await run("DROP TRIGGER realtime_projects_delete");
	await run("CREATE TRIGGER realtime_projects_delete AFTER DELETE ON projects BEGIN SELECT 1; END");
	await run("CREATE TRIGGER realtime_former_delete AFTER DELETE ON projects BEGIN SELECT 1; END");
	const missing = ["insert", "update", "delete", "move"].map((kind) => `realtime_members_${kind}`);
	const found = await drift(db, made);
	assert.deepEqual(found, {
		missing,
		changed: ["realtime_projects_delete"],
		extra: ["realtime_former_delete"],
		unknown: ["members.salary"],
	});
	await db.batch(made.statements.map((statement) => db.prepare(statement)));
	assert.deepEqual(await drift(db, made), { ...none, extra: ["realtime_former_delete"], unknown: ["members.salary"] });
	await run("DROP TABLE realtime_outbox");
	assert.deepEqual((await drift(db, made)).missing, ["realtime_outbox"]);
});
