/**
 * Fluxbase's clients: row changes in both contracts, with and without a token, and the tables' administration.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { connect, UpgradeRefused } from "../client.mjs";
import { ACCESS_TOKEN, insert, join, publish, start, tokenOf, unread } from "../fixture.mjs";
import { FluxbaseChannel } from "../fluxbase.mjs";

const server = await start({
	tables: {
		products: {},
		orders: { rows: [{ column: "user_id", claim: "sub" }] },
		people: { masking: { ssn: { type: "ssn", show: { roles: ["hr"] } } } },
	},
	fluxbase: { organization: "org_1", anonymous: ["public.products"] },
});
after(() => server.dispose());

const socket = (query = "", options) => connect(`${server.url}/realtime${query}`, options);
/** A token as signed by Fluxbase's own server, without an organization. */
const own = (user, claims = {}) => tokenOf(user, undefined, { organizationId: undefined, ...claims });

const restOf = ({ url }) => async (method, path, { token = ACCESS_TOKEN, body } = {}) => {
	const headers = { ...(token && { authorization: `Bearer ${token}` }), "content-type": "application/json" };
	const response = await fetch(url + path, { method, headers, body: body && JSON.stringify(body) });
	return [response.status, await response.json()];
};
const rest = restOf(server);

test("the older contract, frame by frame", async () => {
	const client = await socket();
	const channel = "table:public.products";
	client.send({ type: "subscribe", channel });
	assert.deepEqual(await client.next(), { type: "ack", channel }, "nothing comes before the acknowledgement");
	const [before, now] = [{ id: 123, name: "Old Product", price: 99.99 }, { id: 123, name: "Updated Product", price: 149.99 }];
	await publish(server, insert("products", before));
	await publish(server, { type: "postgres_changes", table: "products", eventType: "UPDATE", new: now, old: before });
	await publish(server, { type: "postgres_changes", table: "products", eventType: "DELETE", old: now });
	const told = (payload) => ({ type: "broadcast", channel, payload: { table: "products", schema: "public", ...payload } });
	assert.deepEqual(await client.next(), told({ type: "INSERT", record: before }));
	assert.deepEqual(await client.next(), told({ type: "UPDATE", record: now, old_record: before }));
	assert.deepEqual(await client.next(), told({ type: "DELETE", old_record: now }));
	const [status, stats] = await rest("GET", "/api/realtime/stats", { token: undefined });
	assert.equal(status, 200);
	assert.deepEqual(Object.keys(stats).sort(), ["channels", "connections"]);
	assert.ok(stats.connections >= 1 && stats.channels >= 1);
	client.send({ type: "unsubscribe", channel });
	assert.deepEqual(await client.next(), { type: "ack", channel });
	client.send({ type: "subscribe", channel: "table:auth.users" });
	assert.equal((await client.next()).type, "error");
	await client.close();
});

test("subscriptions with filters and ids, each row to whom it is for, masked", async () => {
	const listen = (user, bindings, claims) => new FluxbaseChannel(server.url, "mine", { token: own(user, claims), bindings });
	const cheap = listen("ann", [{ event: "INSERT", table: "products", filter: "price=gt.10" }]);
	const [ann, ben] = ["ann", "ben"].map((user) => listen(user, [{ table: "orders" }, { table: "people" }]));
	const hr = listen("hal", [{ table: "people" }], { role: "hr" });
	await Promise.all([cheap, ann, ben, hr].map((channel) => channel.ready()));
	await publish(server, insert("products", { price: 9 }));
	await publish(server, insert("products", { price: 11 }));
	await publish(server, insert("orders", { id: 1, user_id: "ann" }));
	await publish(server, insert("people", { id: 2, ssn: "123-45-6789" }));
	await Promise.all([cheap, hr].map((channel) => channel.until(() => channel.changes.length === 1)));
	assert.deepEqual(cheap.changes.map((change) => change.new), [{ price: 11 }]);
	assert.deepEqual(hr.changes.map((change) => change.new.ssn), ["123-45-6789"]);
	await ann.until(() => ann.changes.length === 2);
	await ben.until(() => ben.changes.length === 1);
	assert.deepEqual(ann.changes.map((change) => change.table), ["orders", "people"]);
	assert.deepEqual(ben.changes.map((change) => change.new.ssn), ["*****6789"]);
	const frame = cheap.frames.find(({ type }) => type === "postgres_changes");
	const ack = cheap.frames.find(({ payload }) => payload?.subscribed);
	assert.deepEqual(frame.subscription_ids, [ack.payload.subscription_id]);
	await Promise.all([cheap, ann, ben, hr].map((channel) => channel.close()));
});

test("who is let in, and as whom", async () => {
	for (const token of ["a.b.c", tokenOf("ann", [], { organizationId: "org_2" }), own("ann", { exp: 1 })]) {
		const refused = await socket(`?token=${token}`).catch((error) => error);
		assert.ok(refused instanceof UpgradeRefused);
		assert.equal(refused.status, 401);
		assert.equal(JSON.parse(refused.body).error, "Invalid or expired token");
	}
	assert.equal((await fetch(`${server.url}/realtime`)).status, 426);
	const nobody = await socket();
	nobody.send({ type: "subscribe", channel: "table:public.orders" });
	assert.equal((await nobody.next()).error, "authentication required for subscriptions");
	nobody.send({ type: "access_token", token: own("ann") });
	assert.deepEqual(await nobody.next(), { type: "ack", payload: { type: "access_token", updated: true } });
	nobody.send({ type: "subscribe", channel: "table:public.orders" });
	assert.equal((await nobody.next()).type, "ack");
	const header = await socket("?token=a.b.c", { headers: { authorization: `Bearer ${own("ben")}` } });
	await Promise.all([nobody.close(), header.close()]);
});

test("a table is narrowed and switched off for these clients, also after the object slept", async () => {
	const path = "/api/v1/admin/realtime/tables";
	const server = await start({ tables: { products: {} }, fluxbase: { organization: "org_1" } });
	after(() => server.dispose());
	const rest = restOf(server);
	// One after the other: an object at which two sockets open at the same moment cannot be evicted.
	const listener = new FluxbaseChannel(server.url, "table:public.products", { token: own("ann") });
	await listener.ready();
	const native = await join(server, "ben");
	assert.equal((await rest("POST", path, { token: own("ann"), body: { table: "products" } }))[0], 403);
	const body = { table: "products", events: ["INSERT"], exclude: ["raw"] };
	const [status, answer] = await rest("POST", path, { token: own("ada", { role: "admin" }), body });
	assert.deepEqual([status, answer.exclude], [201, ["raw"]]);
	await server.evict("org_1", "hibernate");
	await publish(server, insert("products", { id: 1, raw: "<p>" }));
	await listener.until(() => listener.changes.length === 1);
	assert.deepEqual(listener.changes[0].new, { id: 1 });
	assert.deepEqual((await rest("DELETE", `${path}/public/products`))[1].success, true);
	await publish(server, insert("products", { id: 2 }));
	assert.deepEqual((await rest("POST", path, { body: { table: "products" } }))[0], 201);
	await publish(server, insert("products", { id: 3 }));
	await listener.until(() => listener.changes.length === 2);
	assert.deepEqual(listener.changes[1].new, { id: 3 });
	const seen = (await unread(native)).filter(({ table }) => table === "products");
	assert.deepEqual(seen.map((frame) => frame.new.id), [1, 2, 3], "other clients go by what is published");
	await Promise.all([listener.close(), native.close()]);
});
