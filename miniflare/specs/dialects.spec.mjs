/**
 * One organization with sockets of all four dialects: one publication of the API worker and one change of PostgreSQL
 * reach each of them in its own frames, masked for its role, and nobody else; also if its sockets are spread over
 * relays.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { APP, ButterbaseClient, deploy, userToken } from "../butterbase.mjs";
import { join, publish, stats, subscribe, tokenOf, unread } from "../fixture.mjs";
import { FluxbaseChannel } from "../fluxbase.mjs";
import { Database } from "../source.mjs";
import { RECENT, Tenant } from "../supabase.mjs";

const SSN = "123-45-6789";
const EMAIL = "ann@company.example";
const TABLES = ["staff", "people"];
/** The roles of each, and whether the row is visible to them: by name for the database, by role for the API worker. */
const PEOPLE = { hal: ["hr"], mel: ["member"], eve: ["guest"] };

const database = await Database.start();
await database.postgres.sql("create role butterbase_user nologin; grant butterbase_user to realtime_worker_reader", {
	user: "postgres",
	database: "postgres",
});
await database.sql(`
	create table people (id int primary key, ssn text, email text, readers text[]);
	grant select on people to authenticated, butterbase_user;
	alter table people enable row level security;
	create policy readers on people for select to authenticated, butterbase_user
		using (current_setting('request.jwt.claims', true)::json ->> 'sub' = any(readers));
	select realtime_worker.enable_realtime('public', 'people');`);
const masked = { masking: { ssn: { type: "ssn", show: { roles: ["hr"] } }, email: { type: "email", show: { roles: ["hr"] } } } };
let server;
let tenant;

/** Runs with a separate deployment. */
async function withServer(realtime, body) {
	server = await deploy({ ...REALTIME, ...realtime }, { vars: { DATABASE_URL: database.url() } });
	tenant = new Tenant(server, RECENT);
	tenant.organizationId = APP;
	try {
		await body();
	} finally {
		await tenant.close();
		await server.dispose();
		await database.sql("delete from people");
	}
}

const REALTIME = {
	databases: { main: { connection: "DATABASE_URL", organization: APP, roles: ["authenticated", "butterbase_user"] } },
	// The database publishes `people`, the API worker `staff`.
	tables: { people: masked, staff: masked },
	butterbase: { apps: { [APP]: { listeners: -1, tables: ["staff"], public: ["staff"] } } },
	fluxbase: { organization: APP, database: "main" },
};
after(() => database.dispose());

/**
 * Opens a socket of each dialect that subscribes to both tables: `has` waits for this many changes, `read` returns
 * their frames, without times and ids, once everything that was sent has arrived.
 */
const DIALECTS = {
	async native(user, roles) {
		const client = await join(server, user, roles, { organizationId: APP });
		for (const table of TABLES) assert.equal((await subscribe(client, table, { table })).type, "subscribed");
		const changes = [];
		const isChange = ({ table }) => TABLES.includes(table);
		const has = async (count) => {
			while (changes.length < count) changes.push(await client.next(isChange));
		};
		const read = async () => {
			changes.push(...(await unread(client)).filter(isChange));
			return changes.map(({ timestamp, offset, ...frame }) => frame);
		};
		return { has, read, close: () => client.close() };
	},
	async supabase(user, roles) {
		const bindings = TABLES.map((table) => ["postgres_changes", { event: "*", schema: "public", table }, "change"]);
		const on = [...bindings, ["system", {}]];
		const room = await tenant.person(user, { roles }).room(`db-${user}`, { on }).join();
		assert.equal((await room.next(({ handler }) => handler === "system")).payload.status, "ok");
		const changes = [];
		const isChange = ({ handler }) => handler === "change";
		const has = async (count) => {
			while (changes.length < count) changes.push(await room.next(isChange));
		};
		const read = async () => {
			changes.push(...(await room.unread()).filter(isChange));
			return changes.map(({ payload: { commit_timestamp, ...payload } }) => payload);
		};
		return { has, read, close: () => {} };
	},
	async butterbase(user, roles) {
		const client = await ButterbaseClient.connect(server, { token: userToken(user, { roles }) });
		for (const table of TABLES) await client.subscribe(table);
		const has = (count) => client.until(() => client.changes.length >= count);
		const read = async () => {
			await client.settled();
			return client.changes.map(({ timestamp, ...frame }) => frame);
		};
		return { has, read, close: () => client.close() };
	},
	async fluxbase(user, roles) {
		const token = tokenOf(user, roles, { organizationId: APP });
		const channel = new FluxbaseChannel(server.url, "table:public.people", { token, bindings: TABLES.map((table) => ({ table })) });
		await channel.ready();
		const has = (count) => channel.until(() => channel.changes.length >= count);
		const read = async () => {
			await channel.setAuth(token);
			return channel.frames.filter(({ type }) => type === "postgres_changes").map(({ subscription_ids, ...frame }) => frame);
		};
		return { has, read, close: () => channel.close() };
	},
};

/** The frame of a new row in each dialect. */
const FRAMES = {
	native: (table, row) => ({ type: "postgres_changes", eventType: "INSERT", schema: "public", table, new: row, old: null }),
	supabase: (table, row) => ({ schema: "public", table, eventType: "INSERT", new: row, old: {}, errors: null }),
	butterbase: (table, row) => ({ type: "change", table, op: "INSERT", record: row, old_record: null }),
	fluxbase: (table, row) => ({ type: "postgres_changes", payload: { type: "INSERT", table, schema: "public", record: row } }),
};

/** With relays, each object has the sockets of two people. */
for (const [where, relays] of [["at one object", 0], ["spread over relays", { sockets: 2, max: 8 }]]) {
	test(`a publication and a change of the database reach every dialect ${where}, in its frames, masked for the role`, () =>
		withServer({ relays }, () => isToldOnce(relays)));
}

async function isToldOnce(relays) {
	const sockets = [];
	for (const [dialect, open] of Object.entries(DIALECTS)) {
		for (const [user, roles] of Object.entries(PEOPLE)) sockets.push({ dialect, user, ...(await open(user, roles)) });
	}
	const row = (id, readers) => ({ id, ssn: SSN, email: EMAIL, readers });
	const receipt = await publish(server, {
		organizationId: APP,
		type: "postgres_changes",
		table: "staff",
		eventType: "INSERT",
		new: row(1, ["hal"]),
		targetRoles: ["hr", "member"],
	});
	if (relays === 0) assert.equal(receipt.delivered, 8, "two of three people, in four dialects");
	else assert.ok((await stats(server, APP)).relays.length >= 3 && receipt.deliveredAtLeast >= 1, JSON.stringify(receipt));
	await database.sql(`insert into people values (2, '${SSN}', '${EMAIL}', '{hal,mel}')`);
	const told = ({ user }) => (user === "eve" ? 0 : 2);
	for (const socket of sockets) await socket.has(told(socket));
	for (const { dialect, user, read } of sockets) {
		const frames = await read();
		const seen = (id, readers) => (user === "hal" ? row(id, readers) : { ...row(id, readers), ssn: "*****6789", email: "a***@c******.example" });
		const expected = user === "eve" ? [] : [["staff", seen(1, ["hal"])], ["people", seen(2, ["hal", "mel"])]];
		assert.deepEqual(frames, expected.map(([table, row]) => FRAMES[dialect](table, row)), `${user} in ${dialect}`);
	}
	for (const { close } of sockets) await close();
}
