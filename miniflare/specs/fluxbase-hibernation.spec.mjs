/**
 * Fluxbase's clients when the object hibernates or its sockets break.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { publish, start, tokenOf } from "../fixture.mjs";
import { FluxbaseChannel } from "../fluxbase.mjs";

const room = { read: { roles: ["member"] }, write: { roles: ["member"] }, presence: { roles: ["member"] } };
const server = await start({
	channels: [{ topic: "presence:*", ...room }],
	tables: { products: {} },
	fluxbase: { organization: "org_1" },
});
after(() => server.dispose());

const channel = (name, user, options) => new FluxbaseChannel(server.url, name, { token: tokenOf(user), ...options });

test("everything survives a sleep, and comes back after a break", async () => {
	const one = async (...args) => {
		const client = channel(...args);
		await client.ready();
		return client;
	};
	// One after the other: an object that two requests wake at the same moment cannot be evicted.
	const [ann, ben] = [await one("presence:room:2", "ann"), await one("presence:room:2", "ben")];
	const table = await one("mine", "ann", { bindings: [{ table: "products" }] });
	ann.track("u-1", { n: 1 });
	await ben.until(() => ben.presence["u-1"]);
	const change = (id) => publish(server, { type: "postgres_changes", table: "products", eventType: "INSERT", new: { id } });
	await server.evict("org_1", "hibernate");
	await change(1);
	await table.until(() => table.changes.length === 1);
	assert.equal(await ben.send("after", 1), "ok");
	await ann.until(() => ann.messages.length === 1);
	await server.evict("org_1", "close");
	await Promise.all([ann, ben, table].map((client) => client.until(() => client.opened === 2)));
	await Promise.all([ann, ben, table].map((client) => client.ready()));
	await ben.until(() => ben.presence["u-1"]);
	assert.deepEqual(ben.presence, { "u-1": [{ n: 1 }] }, "tracked again, and once");
	await change(2);
	await table.until(() => table.changes.length === 2);
	assert.deepEqual(table.changes.map((one) => one.new.id), [1, 2]);
	await Promise.all([ann, ben, table].map((client) => client.close()));
});
