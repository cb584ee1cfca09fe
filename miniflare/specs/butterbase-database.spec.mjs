/**
 * Butterbase's clients with a real PostgreSQL: the control plane, drift after a dropped trigger and its repair, and row-level
 * security of two users, the service and anonymous clients.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { APP, ButterbaseClient, control, deploy, SERVICE_KEY, userToken } from "../butterbase.mjs";
import { Database, until } from "../source.mjs";

const ROLES = ["butterbase_user", "butterbase_anon"];
const database = await Database.start();
const admin = { user: "postgres", database: "postgres" };
for (const role of ROLES) {
	await database.postgres.sql(`create role ${role} nologin; grant ${role} to realtime_worker_reader`, admin);
}
await database.sql(`
	create table notes (id int primary key, owner text not null, room int, open boolean not null default false);
	grant select on notes to butterbase_user, butterbase_anon;
	alter table notes enable row level security;
	create policy own on notes for select to butterbase_user using (owner = current_setting('request.jwt.claim.sub', true));
	create policy open on notes for select to butterbase_user, butterbase_anon using (open);`);
const server = await deploy(
	{
		databases: { main: { connection: "DATABASE_URL", organization: APP, roles: ROLES, bypass: ["butterbase_service"] } },
		butterbase: { apps: { [APP]: { access: "public", listeners: -1 } } },
	},
	{ vars: { DATABASE_URL: database.url() } },
);
after(async () => {
	await server.dispose();
	await database.dispose();
});

const configure = (...tables) => control(server, "POST", "/configure", { body: { tables } });
const config = async () => (await control(server, "GET", "/config"))[1];

test("only a database that was installed so lets an app enable tables", async () => {
	const [status, { error }] = await configure("notes");
	assert.deepEqual([status, error.code], [403, "AUTH_INSUFFICIENT_PERMISSIONS"]);
	assert.match(error.remediation, /--control-plane yes/);
	await database.sql("select realtime_worker.allow_control_plane(true)");
});

test("tables are enabled all or none, drift is told, and configuring again repairs it", async () => {
	const [status, { error }] = await configure("notes", "nope");
	assert.deepEqual([status, error.code, error.details], [404, "VALIDATION_TABLE_NOT_FOUND", { missing_tables: ["nope"] }]);
	const names = async () => (await config()).tables.map(({ table_name: name }) => name);
	assert.ok(!(await names()).includes("notes"));
	const client = await ButterbaseClient.connect(server, { token: userToken("ann") });
	await client.subscribe("notes");
	await client.until(() => client.of("warning").length === 1);
	assert.equal(client.of("warning")[0].code, "TABLE_NOT_REALTIME_ENABLED");
	assert.deepEqual(await configure("notes"), [200, { configured: [{ table: "notes", status: "enabled" }] }]);
	assert.equal((await config()).active_connection, true);
	const state = async () => {
		const { enabled, trigger_installed: installed, drift } = (await config()).tables.find((table) => table.table_name === "notes");
		return { enabled, installed, drift };
	};
	assert.deepEqual(await state(), { enabled: true, installed: true, drift: false });
	await database.sql("drop trigger notes_notify_change on notes");
	assert.deepEqual(await state(), { enabled: true, installed: false, drift: true });
	await configure("notes");
	assert.deepEqual(await state(), { enabled: true, installed: true, drift: false });
	await client.close();
});

test("each change goes to whom its policies show it, deletes too, and to the service", async () => {
	const [ann, ben] = [await ButterbaseClient.connect(server, { token: userToken("ann") }), await ButterbaseClient.connect(server, { token: userToken("ben") })];
	const filtered = await ButterbaseClient.connect(server, { token: userToken("ann") });
	const [nobody, service] = [await ButterbaseClient.connect(server), await ButterbaseClient.connect(server, { header: SERVICE_KEY })];
	for (const client of [ann, ben, nobody, service]) await client.subscribe("notes");
	await filtered.subscribe("notes", { filter: { room: 2 } });
	await database.sql("insert into notes values (1, 'ann', 1), (2, 'ben', 1), (3, 'cat', 1, true), (4, 'ann', 2)");
	await database.sql("update notes set owner = 'ben' where id = 1");
	await database.sql("delete from notes where id in (2, 4)");
	await service.until(() => service.changes.length === 7);
	const seen = (client) => client.changes.map(({ op, record, old_record: old }) => [op, (record ?? old).id]);
	await ann.until(() => ann.changes.length === 5);
	assert.deepEqual(seen(ann), [["INSERT", 1], ["INSERT", 3], ["INSERT", 4], ["DELETE", 1], ["DELETE", 4]]);
	await ben.until(() => ben.changes.length === 4);
	assert.deepEqual(seen(ben), [["INSERT", 2], ["INSERT", 3], ["INSERT", 1], ["DELETE", 2]]);
	await filtered.until(() => filtered.changes.length === 2);
	assert.deepEqual(seen(filtered), [["INSERT", 4], ["DELETE", 4]]);
	await nobody.until(() => nobody.changes.length === 1);
	assert.deepEqual(seen(nobody), [["INSERT", 3]]);
	for (const client of [ann, ben, filtered, nobody, service]) await client.close();
});

test("a table that is switched off is told of no more", async () => {
	const client = await ButterbaseClient.connect(server, { token: userToken("ann") });
	await client.subscribe("notes");
	for (let time = 0; time < 2; time += 1) {
		assert.deepEqual(await control(server, "DELETE", "/notes"), [200, { table: "notes", status: "disabled" }]);
	}
	await database.sql("insert into notes values (10, 'ann', 1)");
	await configure("notes");
	await database.sql("insert into notes values (11, 'ann', 1)");
	await until(() => client.changes.length, (count) => count > 0);
	assert.deepEqual(client.changes.map(({ record }) => record.id), [11]);
	await client.close();
});
