/**
 * Butterbase's control plane with a real PostgreSQL.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { APP, control, deploy } from "../butterbase.mjs";
import { Database } from "../source.mjs";

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

test("only a database that was installed so lets an app enable tables", async () => {
	const [status, { error }] = await configure("notes");
	assert.deepEqual([status, error.code], [403, "AUTH_INSUFFICIENT_PERMISSIONS"]);
	assert.match(error.remediation, /--control-plane yes/);
});
