/**
 * Supabase's clients: row changes, by binding, with their types, as their recipient may see them.
 */
import assert from "node:assert/strict";
import { after } from "node:test";
import { RECENT, startSupabase } from "../supabase.mjs";
import { behaviour } from "../supabase_matrix.mjs";

const server = await startSupabase();
after(() => server.dispose());

const on = (filter, name) => ["postgres_changes", { schema: "public", ...filter }, name];
const isSystem = ({ event }) => event === "system";
/** Clients without features newer than 2.108. */
const isBefore2109 = ({ module }) => /realtime-2\.(1\d|97)\./.test(module);

behaviour(server, "row changes by event, table and filter, each handler once", async (tenant) => {
	const handlers = [
		on({ event: "*", table: "people" }, "people"),
		on({ event: "INSERT", table: "people" }, "inserted"),
		on({ event: "UPDATE", table: "people", filter: "id=eq.2" }, "second updated"),
		on({ event: "DELETE", table: "people" }, "deleted"),
		on({ event: "*", table: "orders", filter: "state=in.(open,new)" }, "open orders"),
		on({ event: "*" }, "all"),
		["postgres_changes", { event: "*", schema: "audit" }, "audit"],
	];
	const room = await tenant.person("ada").room("db", { on: handlers }).join();
	const heard = async () => (await room.unread()).map(({ handler }) => handler).sort();
	await tenant.change("INSERT", "people", { id: 1 });
	assert.deepEqual(await heard(), ["all", "inserted", "people"]);
	await tenant.change("UPDATE", "people", { id: 1 });
	assert.deepEqual(await heard(), ["all", "people"]);
	await tenant.change("UPDATE", "people", { id: 2 });
	assert.deepEqual(await heard(), ["all", "people", "second updated"]);
	await tenant.change("DELETE", "people", { id: 2 });
	assert.deepEqual(await heard(), ["all", "deleted", "people"]);
	await tenant.change("INSERT", "orders", { id: 1, state: "open" });
	assert.deepEqual(await heard(), ["all", "open orders"]);
	await tenant.change("INSERT", "orders", { id: 1, state: "closed" });
	assert.deepEqual(await heard(), ["all"]);
	await tenant.change("INSERT", "log", { id: 1 }, { schema: "audit" });
	assert.deepEqual(await heard(), ["audit"]);
});

behaviour(server, "the row before and after, with its table and time", async (tenant) => {
	const room = await tenant.person("ada").room("db", { on: [on({ event: "*", table: "orders" })] }).join();
	await tenant.change("INSERT", "orders", { id: 1, note: "new" });
	await tenant.change("UPDATE", "orders", { id: 1, note: "newer" }, { old: { id: 1, note: "new" } });
	await tenant.change("DELETE", "orders", { id: 1 });
	const changes = (await room.unread()).map(({ payload }) => payload);
	assert.deepEqual(changes.map((change) => [change.eventType, change.new, change.old]), [
		["INSERT", { id: 1, note: "new" }, {}],
		["UPDATE", { id: 1, note: "newer" }, { id: 1, note: "new" }],
		["DELETE", {}, { id: 1 }],
	]);
	for (const { schema, table, errors, commit_timestamp: time } of changes) {
		assert.deepEqual([schema, table, errors], ["public", "orders", null]);
		assert.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
		assert.ok(Math.abs(Date.now() - Date.parse(time)) < 60_000, time);
	}
});

behaviour(server, "values cast by the types of their columns", async (tenant) => {
	const room = await tenant.person("ada").room("db", { on: [on({ event: "*", table: "orders" })] }).join();
	const columns = { id: "int8", price: "numeric", paid: "bool", tags: "_int4", at: "timestamp", more: "jsonb" };
	const row = { id: "7", price: "1.5", paid: "t", tags: "{1,2}", at: "2026-01-01 00:00:00", more: '{"a":1}', text: "7" };
	await tenant.change("INSERT", "orders", row, { columns });
	assert.deepEqual((await room.next()).payload.new, {
		id: 7,
		price: 1.5,
		paid: true,
		tags: [1, 2],
		at: "2026-01-01T00:00:00",
		more: { a: 1 },
		text: "7",
	});
});

behaviour(server, "masks by role, on live changes", async (tenant) => {
	const [full, masked] = [["123-45-6789", "123-45-6780"], ["*****6789", "*****6780"]];
	const readers = [["mel", ["member"], masked], ["hal", ["hr"], full], ["owner", ["member"], full]];
	const rooms = [];
	for (const [user, roles] of readers) {
		rooms.push(await tenant.person(user, { roles }).room("db", { on: [on({ event: "*", table: "people" })] }).join());
	}
	const [row, old] = full.map((ssn) => ({ id: 1, userId: "owner", ssn }));
	await tenant.change("UPDATE", "people", row, { old });
	for (const [index, [user, , expected]] of readers.entries()) {
		const { payload } = await rooms[index].next();
		assert.deepEqual([payload.new.ssn, payload.old.ssn], expected, user);
	}
});

behaviour(server, "bindings echoed as they were sent, with ids that count", async (tenant) => {
	const ada = tenant.person("ada");
	const handlers = [on({ event: "INSERT", table: "people", filter: " id=gt.0" }), ["postgres_changes", { event: "*", schema: "*" }]];
	const room = ada.room("db", { on: handlers });
	const { status } = await room.subscribe();
	const sent = ada.socket.sent.items.find(({ event }) => event === "phx_join").payload.config.postgres_changes;
	const { payload } = await ada.socket.received.find(({ event, topic }) => event === "phx_reply" && topic === "realtime:db");
	const ids = payload.response.postgres_changes.map(({ id }) => id);
	assert.ok(ids.every(Boolean) && new Set(ids).size === ids.length, JSON.stringify(ids));
	assert.deepEqual(payload.response.postgres_changes.map(({ id: _, ...rest }) => JSON.stringify(rest)), sent.map((one) => JSON.stringify(one)));
	assert.equal(status, "SUBSCRIBED");
});

behaviour(server, "the system message of a live subscription", async (tenant) => {
	const ada = tenant.person("ada");
	const room = ada.room("db", { on: [on({ event: "*", table: "people" }), ["system", {}]] });
	await room.join();
	const { payload } = await room.next(({ handler }) => handler === "system");
	assert.deepEqual(payload, { message: "Subscribed to PostgreSQL", status: "ok", extension: "postgres_changes", channel: "db" });
	const { ref, join_ref } = await ada.socket.received.find(isSystem);
	assert.equal(ref, null);
	const join = ada.socket.sent.items.find(({ event }) => event === "phx_join");
	assert.equal(join_ref ?? null, ada.socket.vsn === "1.0.0" ? null : join.ref);
});

behaviour(server, "an invalid filter is an error that leaves the channel open", async (tenant) => {
	const handlers = [on({ event: "*", table: "people", filter: "id=near.1" }), ["system", {}], ["broadcast", { event: "*" }]];
	const room = await tenant.person("ada").room("db", { on: handlers }).join();
	const { payload } = await room.next(({ handler }) => handler === "system");
	assert.deepEqual([payload.status, payload.extension, payload.channel], ["error", "postgres_changes", "db"]);
	await tenant.change("INSERT", "people", { id: 1 });
	await tenant.say("db", "still here", {});
	assert.deepEqual((await room.unread()).map(({ payload }) => payload.event), ["still here"]);
});

behaviour(server, "a table that the roles do not receive is refused at the join", async (tenant) => {
	const room = tenant.person("mel").room("db", { on: [on({ event: "*", table: "staff" })] });
	const { status, error } = await room.subscribe();
	assert.equal(status, "CHANNEL_ERROR");
	assert.match(error.message, /^"?Unauthorized: /);
	const boss = await tenant.person("ada", { roles: ["admin"] }).room("db", { on: [on({ event: "*", table: "staff" })] }).join();
	await tenant.change("INSERT", "staff", { id: 1 });
	assert.deepEqual((await boss.next()).payload.new, { id: 1 });
	assert.deepEqual(room.events.unread(), []);
});

behaviour(server, "filters: every operator of 2026", async (tenant) => {
	const filters = {
		"id=gte.2": [2, 3],
		"id=lt.2": [1],
		"id=neq.2": [1, 3],
		"id=not.eq.2": [1, 3],
		"name=like.A%": [1],
		"name=ilike.%O%": [2, 3],
		"name=match.^B": [2],
		"gone=is.null": [1, 2],
		"id=gt.1,name=like.B%": [2],
		'name=in.("Bob","C,o")': [2, 3],
	};
	const handlers = Object.keys(filters).map((filter) => on({ event: "INSERT", table: "orders", filter }, filter));
	const room = await tenant.person("ada").room("db", { on: handlers }).join();
	const rows = [{ id: 1, name: "Ann", gone: null }, { id: 2, name: "Bob", gone: null }, { id: 3, name: "C,o", gone: true }];
	for (const row of rows) await tenant.change("INSERT", "orders", row);
	const found = Object.fromEntries(Object.keys(filters).map((filter) => [filter, []]));
	for (const { handler, payload } of await room.unread()) found[handler].push(payload.new.id);
	assert.deepEqual(found, filters);
});

behaviour(
	server,
	"select: only some columns",
	async (tenant) => {
		const room = await tenant.person("ada").room("db", { on: [on({ event: "*", table: "orders", select: ["id", "name"] })] }).join();
		await tenant.change("UPDATE", "orders", { id: 1, name: "a", secret: 1 }, { old: { id: 1, name: "b", secret: 2 } });
		const { payload } = await room.next();
		assert.deepEqual([payload.new, payload.old], [{ id: 1, name: "a" }, { id: 1, name: "b" }]);
	},
	{ lacks: isBefore2109 },
);

behaviour(
	server,
	"wait: subscribed means that changes arrive",
	async (tenant) => {
		const ada = tenant.person("ada");
		const config = { postgres_changes_options: { wait: true, timeout: 3_000 } };
		const room = await ada.room("db", { config, on: [on({ event: "*", table: "orders" }), ["system", {}]] }).join();
		await tenant.change("INSERT", "orders", { id: 1 });
		const events = await room.unread();
		assert.deepEqual(events.map(({ handler }) => handler), ["system", "postgres_changes"]);
	},
	{ lacks: isBefore2109 },
);

behaviour(server, "one channel for changes, broadcasts and presence", async (tenant) => {
	const [ada, ben] = [tenant.person("ada"), tenant.person("ben", { client: RECENT })];
	const handlers = [on({ event: "*", table: "orders" }), ["broadcast", { event: "*" }], ["presence", { event: "join" }]];
	const [room, other] = [ada.room("all", { on: handlers }), ben.room("all", { on: handlers })];
	for (const one of [room, other]) await one.join();
	await tenant.change("INSERT", "orders", { id: 1 });
	await other.send("hello", {});
	await other.channel.track({ at: "desk" });
	const handled = async () => (await room.unread()).map(({ handler }) => handler);
	await other.events.find(({ handler }) => handler === "presence");
	assert.deepEqual(await handled(), ["postgres_changes", "broadcast", "presence"]);
});
