/**
 * Fluxbase's clients with a real PostgreSQL: `enable_realtime` as its documentation writes it, the tables' REST, and row-level
 * security of two users.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { ACCESS_TOKEN, start, tokenOf } from "../fixture.mjs";
import { FluxbaseChannel } from "../fluxbase.mjs";
import { Database } from "../source.mjs";

const TABLES = "/api/v1/admin/realtime/tables";
const database = await Database.start();
await database.sql(`
	create table products (id int primary key, owner text not null, price numeric, raw text);
	grant select on products to authenticated;
	alter table products enable row level security;
	create policy own on products for select to authenticated using (owner = current_setting('request.jwt.claims', true)::json ->> 'sub');
	select realtime_worker.allow_control_plane(true);`);
const main = { connection: "DATABASE_URL", organization: "org_1", roles: ["authenticated"] };
const server = await start(
	{ databases: { main }, fluxbase: { organization: "org_1", database: "main" } },
	{ vars: { DATABASE_URL: database.url() } },
);
after(async () => {
	await server.dispose();
	await database.dispose();
});

const listen = async (user, options) => {
	const channel = new FluxbaseChannel(server.url, "table:public.products", { token: tokenOf(user, ["authenticated"]), ...options });
	await channel.ready();
	return channel;
};

async function rest(method, path, body) {
	const headers = { authorization: `Bearer ${ACCESS_TOKEN}`, "content-type": "application/json" };
	const response = await fetch(server.url + path, { method, headers, body: body && JSON.stringify(body) });
	return [response.status, await response.json()];
}

test("a table that SQL enables reaches the sockets, each row its owner only", async () => {
	await database.sql("select enable_realtime('public', 'products')");
	const [ann, ben] = [await listen("ann"), await listen("ben")];
	const cheap = await listen("ann", { bindings: [{ table: "products", event: "INSERT", filter: "price=lt.10" }] });
	await database.sql("insert into products values (1, 'ann', 99.5), (2, 'ben', 1), (3, 'ann', 9)");
	await database.sql("update products set price = 1 where id = 1; delete from products where id = 2");
	await ann.until(() => ann.changes.length === 3);
	await ben.until(() => ben.changes.length === 2);
	await cheap.until(() => cheap.changes.length === 1);
	const seen = (channel) => channel.changes.map(({ eventType, new: now, old }) => [eventType, now.id ?? old.id]);
	assert.deepEqual(seen(ann), [["INSERT", 1], ["INSERT", 3], ["UPDATE", 1]]);
	assert.deepEqual(seen(ben), [["INSERT", 2], ["DELETE", 2]]);
	assert.deepEqual(seen(cheap), [["INSERT", 3]]);
	for (const channel of [ann, ben, cheap]) await channel.close();
});

test("administrators narrow, list and switch off tables of the database", async () => {
	const [status, enabled] = await rest("POST", TABLES, { table: "products", events: ["INSERT", "DELETE"], exclude: ["raw"] });
	assert.deepEqual([status, enabled.events, enabled.exclude], [201, ["INSERT", "DELETE"], ["raw"]]);
	assert.equal((await rest("POST", TABLES, { table: "nope" }))[0], 404);
	assert.equal((await rest("PATCH", `${TABLES}/public/products`, { events: ["INSERT"] }))[1].success, true);
	const [, one] = await rest("GET", `${TABLES}/public/products`);
	assert.deepEqual([one.realtime_enabled, one.events, one.excluded_columns], [true, ["INSERT"], ["raw"]]);
	const ann = await listen("ann");
	await database.sql("insert into products values (20, 'ann', 1, '<p>'); delete from products where id = 20");
	await database.sql("insert into products values (21, 'ann', 1)");
	await ann.until(() => ann.changes.length === 2);
	assert.deepEqual(ann.changes.map(({ new: row }) => row), [{ id: 20, owner: "ann", price: 1 }, { id: 21, owner: "ann", price: 1 }]);
	assert.equal((await rest("DELETE", `${TABLES}/public/products`))[1].success, true);
	assert.equal((await rest("DELETE", `${TABLES}/public/products`))[0], 404);
	const [, { tables }] = await rest("GET", TABLES);
	assert.deepEqual(tables.map(({ table }) => table), ["messages"]);
	await ann.close();
});
