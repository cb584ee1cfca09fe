/**
 * Butterbase's clients with a real PostgreSQL: the control plane and a missing trigger, row-level security for two
 * users, the service and anonymous clients, filters, and the expiry of a token.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { APP, ButterbaseClient, control, deploy, SERVICE_KEY, userToken } from "../butterbase.mjs";
import { now } from "../fixture.mjs";
import { Database } from "../source.mjs";

const ROLES = ["butterbase_user", "butterbase_anon"];
const database = await Database.start();
const admin = { user: "postgres", database: "postgres" };
for (const role of ROLES) {
	await database.postgres.sql(`create role ${role} nologin; grant ${role} to realtime_worker_reader`, admin);
}
await database.sql(`
	create table notes (id int primary key, owner text not null, room int, open boolean not null default false);
	create table pairs (a int, b int, owner text not null, primary key (a, b));
	create table loose (owner text not null);
	grant select on notes, pairs, loose to butterbase_user, butterbase_anon;
	alter table notes enable row level security;
	alter table pairs enable row level security;
	create policy own on notes for select to butterbase_user using (owner = current_setting('request.jwt.claim.sub', true));
	create policy open on notes for select to butterbase_user, butterbase_anon using (open);
	create policy own on pairs for select to butterbase_user using (owner = current_setting('request.jwt.claim.sub', true));`);
const server = await deploy(
	{
		databases: { main: { connection: "DATABASE_URL", organization: APP, roles: ROLES, bypass: ["butterbase_service"] } },
		butterbase: { apps: { [APP]: { access: "public", listeners: 6 } } },
	},
	{ vars: { DATABASE_URL: database.url() } },
);
after(async () => {
	await server.dispose();
	await database.dispose();
});

const configure = (...tables) => control(server, "POST", "/configure", { body: { tables } });
const user = (name, claims) => ButterbaseClient.connect(server, { token: userToken(name, claims) });
/** The configuration of a table. */
const listed = async (name) => (await control(server, "GET", "/config"))[1].tables.find(({ table_name: table }) => table === name);
const rows = (client) => client.changes.map(({ op, record, old_record: old }) => [op, (record ?? old).id]);

test("only a database that was installed so lets an app enable tables", async () => {
	const [status, { error }] = await configure("notes");
	assert.deepEqual([status, error.code], [403, "AUTH_INSUFFICIENT_PERMISSIONS"]);
	assert.match(error.remediation, /--control-plane yes/);
	await database.sql("select realtime_worker.allow_control_plane(true)");
	const [missing, refusal] = await configure("notes", "nope");
	assert.deepEqual([missing, refusal.error.details], [404, { missing_tables: ["nope"] }]);
	assert.equal(await listed("notes"), undefined, "all or none");
	assert.deepEqual(await configure("notes", "pairs"), [
		200,
		{ configured: [{ table: "notes", status: "enabled" }, { table: "pairs", status: "enabled" }] },
	]);
});

test("each row reaches whoever row-level security lets see it, deletes included", async () => {
	const [ann, ben] = [await user("ann"), await user("ben")];
	const [service, nobody] = [await ButterbaseClient.connect(server, { token: SERVICE_KEY }), await ButterbaseClient.connect(server)];
	const narrow = await user("ann");
	for (const client of [ann, ben, service, nobody]) await client.subscribe("notes");
	await narrow.subscribe("notes", { filter: { room: 2 } });
	const statements = [
		"insert into notes values (1, 'ann', 1, false), (2, 'ben', 1, false), (3, 'ann', 2, true)",
		// It leaves ann's sight and the filter.
		"update notes set owner = 'ben', room = 1, open = false where id = 3",
		"delete from notes where id < 3",
	];
	for (const statement of statements) await database.sql(statement);
	await service.until(() => service.changes.length === 6);
	const deletes = [["DELETE", 1], ["DELETE", 2]];
	assert.deepEqual(rows(service), [["INSERT", 1], ["INSERT", 2], ["INSERT", 3], ["UPDATE", 3], ...deletes]);
	await ann.until(() => ann.changes.length === 4);
	await ben.until(() => ben.changes.length === 4);
	await narrow.until(() => narrow.changes.length === 2);
	await nobody.until(() => nobody.changes.length === 2);
	for (const client of [ann, ben, narrow, nobody]) await client.settled();
	assert.deepEqual(rows(ann), [["INSERT", 1], ["INSERT", 3], ["DELETE", 3], ["DELETE", 1]]);
	assert.deepEqual(rows(ben), [["INSERT", 2], ["INSERT", 3], ["UPDATE", 3], ["DELETE", 2]]);
	assert.deepEqual(rows(narrow), [["INSERT", 3], ["DELETE", 3]], "filtered, and told what left");
	assert.deepEqual(rows(nobody), [["INSERT", 3], ["DELETE", 3]], "what is open, for as long as it is");
	await Promise.all([ann, ben, service, nobody, narrow].map((client) => client.close()));
});

test("a primary key of two columns is one, and a table of which nothing can be told says so", async () => {
	const client = await user("ann");
	await client.subscribe("pairs");
	// In one transaction: by the time of the event, the row is gone.
	await database.sql("insert into pairs values (1, 2, 'ann'), (1, 3, 'ben'); delete from pairs");
	await client.until(() => client.changes.length === 2);
	assert.deepEqual(client.changes.map(({ op, record, old_record: old }) => [op, record ?? old]), [
		["INSERT", { a: 1, b: 2, owner: "ann" }],
		["DELETE", { a: 1, b: 2, owner: "ann" }],
	]);
	const service = await ButterbaseClient.connect(server, { token: SERVICE_KEY });
	await client.subscribe("loose");
	await client.until(() => client.of("warning").length === 1);
	await configure("loose");
	await service.subscribe("loose");
	await client.subscribe("loose");
	await client.until(() => client.of("warning").length === 2);
	const codes = client.of("warning").map(({ code, table }) => [code, table]);
	assert.deepEqual(codes, [["TABLE_NOT_REALTIME_ENABLED", "loose"], ["TABLE_HAS_NO_POLICY", "loose"]]);
	await database.sql("insert into loose values ('ann')");
	await service.until(() => service.changes.length === 1);
	await client.settled();
	assert.equal(client.changes.length, 2, "row-level security is off: that is no policy");
	await Promise.all([client.close(), service.close()]);
});

test("a trigger that was dropped is drift, configuring repairs it, and changes flow again", async () => {
	const client = await user("ann");
	await client.subscribe("notes");
	const state = async () => {
		const { enabled, trigger_installed, drift } = await listed("notes");
		return { enabled, trigger_installed, drift };
	};
	const sound = { enabled: true, trigger_installed: true, drift: false };
	assert.deepEqual(await state(), sound);
	await database.sql("drop trigger notes_notify_change on notes");
	assert.deepEqual(await state(), { enabled: true, trigger_installed: false, drift: true });
	await database.sql("insert into notes values (10, 'ann', 1)");
	assert.deepEqual((await configure("notes"))[0], 200);
	assert.deepEqual(await state(), sound);
	await database.sql("insert into notes values (11, 'ann', 1)");
	await client.until(() => client.changes.length > 0);
	assert.deepEqual(rows(client), [["INSERT", 11]], "what no trigger saw is nobody's to tell");
	assert.deepEqual(await control(server, "DELETE", "/notes"), [200, { table: "notes", status: "disabled" }]);
	assert.deepEqual(await state(), { enabled: false, trigger_installed: false, drift: false }, "it stays listed");
	await database.sql("insert into notes values (12, 'ann', 1)");
	assert.deepEqual((await configure("notes"))[0], 200);
	await database.sql("insert into notes values (13, 'ann', 1)");
	await client.until(() => client.changes.length > 1);
	assert.deepEqual(rows(client), [["INSERT", 11], ["INSERT", 13]], "the subscription stood meanwhile");
	await client.close();
});

test("rows end with the token, and a fresh one goes on; the plan counts", async () => {
	const expiring = () => user("ann", { exp: now() + 6 });
	const [lost, kept] = [await expiring(), await expiring()];
	for (const client of [lost, kept]) await client.subscribe("notes");
	assert.equal((await kept.ask({ type: "auth", token: userToken("ann") }, "connected")).role, "butterbase_user");
	await lost.until(() => lost.of("error").length > 0);
	assert.equal(lost.of("error")[0].code, "token_expired");
	await lost.close();
	await database.sql("insert into notes values (20, 'ann', 1)");
	await kept.until(() => kept.changes.length > 0);
	assert.deepEqual([rows(kept), rows(lost)], [[["INSERT", 20]], []]);
	const others = [];
	for (let place = 1; place < 6; place += 1) others.push(await user("ben"));
	const late = new ButterbaseClient(server, { token: userToken("ben") });
	await late.until(() => late.closes.length > 0);
	assert.deepEqual(late.closes[0], { code: 1013, reason: "Per-app realtime listener limit reached" });
	await Promise.all([late, kept, ...others].map((client) => client.close()));
});
