/**
 * Apps with their own PostgreSQL databases: the app's id is part of the secret's name, and rows of one app never reach
 * another.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { APP, ButterbaseClient, control, deploy, userToken } from "../butterbase.mjs";
import { ACCESS_TOKEN } from "../fixture.mjs";
import { Database, until } from "../source.mjs";

const OTHER = "app_other";
/** An app without a configured database, and one whose id cannot name a secret. */
const [BARE, CAPITALS] = ["app_bare", "App_Other"];
const TABLE = `
	create table notes (id int primary key, body text not null);
	grant select on notes to authenticated;
	alter table notes enable row level security;
	create policy everyone on notes for select to authenticated using (true);
	select realtime_worker.enable_realtime('public', 'notes');`;
const database = await Database.start();
await database.postgres.database("other");
const inOther = (text) => database.postgres.sql(text, { database: "other" });
await database.sql(`${TABLE} select realtime_worker.allow_control_plane(true)`);
await inOther(TABLE);
const log = [];
const server = await deploy(
	{
		databases: { main: { connection: "DATABASE_{app}", organization: "{app}", roles: ["authenticated"], bypass: ["butterbase_service"] } },
		butterbase: { database: "main" },
	},
	{ vars: { DATABASE_APP_ABC123: database.url(), DATABASE_APP_OTHER: database.url({ name: "other" }) }, onLog: ({ message }) => log.push(message) },
);
after(async () => {
	await server.dispose();
	await database.dispose();
});

const user = (app) => ButterbaseClient.connect(server, { app, token: userToken("ann", { app }) });
/** The state of an app's database. */
async function status(app) {
	const address = `${server.url}/realtime/v1/source/status?database=${encodeURIComponent(`main/${app}`)}`;
	return (await fetch(address, { headers: { authorization: `Bearer ${ACCESS_TOKEN}` } })).json();
}

test("rows of one app's database reach that app alone", async () => {
	const [mine, others] = [await user(APP), await user(OTHER)];
	for (const client of [mine, others]) await client.subscribe("notes");
	await Promise.all([database.sql("insert into notes values (1, 'mine')"), inOther("insert into notes values (1, 'the other')")]);
	for (const client of [mine, others]) await client.until(() => client.changes.length > 0);
	// A second row follows each, so nothing else can still be in transit.
	await Promise.all([database.sql("insert into notes values (2, 'mine')"), inOther("insert into notes values (2, 'the other')")]);
	for (const client of [mine, others]) await client.until(() => client.changes.length > 1);
	const bodies = ({ changes }) => changes.map(({ record }) => record.body);
	assert.deepEqual([bodies(mine), bodies(others)], [["mine", "mine"], ["the other", "the other"]]);
	const told = await Promise.all([status(APP), status(OTHER)]);
	assert.deepEqual(told.map(({ organizations, problem }) => [organizations, problem]), [[1, null], [1, null]]);
	await Promise.all([mine.close(), others.close()]);
});

test("the control plane of an app sets the tables of its own database", async () => {
	assert.deepEqual(await control(server, "DELETE", "/notes"), [200, { table: "notes", status: "disabled" }]);
	const enabled = "select count(*) from pg_trigger where tgname = 'notes_notify_change'";
	assert.deepEqual([await database.sql(enabled), await inOther(enabled)], ["0", "1"]);
	assert.equal((await control(server, "POST", "/configure", { body: { tables: ["notes"] } }))[0], 200);
	assert.equal(await database.sql(enabled), "1");
});

test("an app without a database gets no other's rows, and the log names what is missing", async () => {
	for (const [app, missing] of [[BARE, "DATABASE_APP_BARE"], [CAPITALS, undefined]]) {
		const client = await user(app);
		client.send({ type: "subscribe", table: "notes" });
		assert.equal((await status(app)).problem, "connection_missing");
		const line = () => log.map(parsed).find((line) => line?.event === "database_lost" && line.database === `main/${app}`);
		await until(async () => line(), Boolean);
		assert.deepEqual([line().problem, line().missing], ["connection_missing", missing]);
		await Promise.all([database.sql("insert into notes values (3, 'mine'); delete from notes where id = 3"), inOther("insert into notes values (3, 'the other'); delete from notes where id = 3")]);
		await client.settled();
		assert.equal(client.changes.length, 0);
		await client.close();
	}
	const names = ["main", "other", "main/two words"];
	for (const name of names) {
		const address = `${server.url}/realtime/v1/source/status?database=${encodeURIComponent(name)}`;
		assert.equal((await fetch(address, { headers: { authorization: `Bearer ${ACCESS_TOKEN}` } })).status, 400, name);
	}
});

function parsed(line) {
	try {
		return JSON.parse(line);
	} catch {
		return undefined;
	}
}
