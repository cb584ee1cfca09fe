/** Row changes: which handler receives which. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { insert, next, publish, record, recordingSocket, remove, startRig, update } from "./client-rig.mjs";

const { server, open } = await startRig();

/** A barrier: what was published before it has been handled when it resolves. */
async function settled(one) {
	const { ready, off } = one.on("barrier", "INSERT", () => {});
	await ready;
	const heard = next((handler) => one.on("barrier", "INSERT", handler));
	await publish(server.url, insert("barrier", {}));
	await heard;
	off();
}

test("each handler gets its table, its kind and its schema", async (t) => {
	const one = open(t);
	const [any, inserts, deletes, other, all] = Array.from({ length: 5 }, record);
	await Promise.all([
		one.on("claims", "*", any.handler).ready,
		one.on("claims", "INSERT", inserts.handler).ready,
		one.on("claims", "DELETE", deletes.handler).ready,
		one.on("claims", "*", other.handler, { schema: "audit" }).ready,
		one.on("*", "*", all.handler).ready,
	]);
	const changes = [insert("claims", { id: 1 }), update("claims", { id: 1 }, null), remove("claims", { id: 1 })];
	await publish(server.url, ...changes, insert("claims", { id: 2 }, { schema: "audit" }), insert("people", { id: 3 }));
	await all.count(5);
	const kinds = ({ all }) => all.map(({ schema, table, eventType }) => `${schema}.${table} ${eventType}`);
	assert.deepEqual(kinds(any), ["public.claims INSERT", "public.claims UPDATE", "public.claims DELETE"]);
	assert.deepEqual(kinds(inserts), ["public.claims INSERT"]);
	assert.deepEqual(kinds(deletes), ["public.claims DELETE"]);
	assert.deepEqual(kinds(other), ["audit.claims INSERT"]);
	assert.equal(all.all.length, 5);
	assert.deepEqual({ ...any.all[2], offset: 0 }, {
		type: "postgres_changes",
		schema: "public",
		table: "claims",
		eventType: "DELETE",
		new: null,
		old: { id: 1 },
		offset: 0,
	});
});

test("a table may be named with its schema", async (t) => {
	const one = open(t);
	const heard = record();
	await one.on("hr.employees", "*", heard.handler).ready;
	await publish(server.url, insert("employees", { id: 1 }), insert("employees", { id: 2 }, { schema: "hr" }));
	await heard.count(1);
	await settled(one);
	assert.deepEqual(heard.all.map((change) => change.new.id), [2]);
});

test("several filters on one table are told apart", async (t) => {
	const one = open(t);
	const [open_, large, every, leaving] = Array.from({ length: 4 }, record);
	const large_ = one.on("claims", "*", large.handler, { filter: "amount=gte.100" });
	await Promise.all([
		one.on("claims", "*", open_.handler, { filter: "status=eq.open" }).ready,
		large_.ready,
		one.on("claims", "INSERT", every.handler).ready,
		one.on("claims", "DELETE", leaving.handler, { filter: "status=eq.open" }).ready,
	]);
	const rows = [
		{ id: 1, status: "open", amount: 5 },
		{ id: 2, status: "closed", amount: 500 },
		{ id: 3, status: "open", amount: 100 },
		{ id: 4, status: "closed", amount: 1 },
	];
	await publish(server.url, ...rows.map((row) => insert("claims", row)), ...rows.map((row) => remove("claims", row)));
	await every.count(4);
	await settled(one);
	const ids = ({ all }) => all.map((change) => (change.new ?? change.old).id);
	assert.deepEqual(ids(open_), [1, 3, 1, 3]);
	assert.deepEqual(ids(large), [2, 3, 2, 3]);
	assert.deepEqual(ids(every), [1, 2, 3, 4]);
	assert.deepEqual(ids(leaving), [1, 3]);
});

test("a filter that only the server can judge works alone; beside another, nothing wrong is handed over", async (t) => {
	const one = open(t);
	const [matching, errors] = [record(), record()];
	one.on.error(errors.handler);
	await one.on("notes", "INSERT", matching.handler, { filter: "title=match.^A" }).ready;
	await publish(server.url, insert("notes", { title: "Ada" }), insert("notes", { title: "Bob" }));
	await matching.count(1);
	const all = record();
	await one.on("notes", "INSERT", all.handler).ready;
	await publish(server.url, insert("notes", { title: "Bea" }), insert("notes", { title: "Ann" }));
	await all.count(2);
	assert.deepEqual(matching.all.map((change) => change.new.title), ["Ada"]);
	assert.deepEqual([...new Set(errors.all.map(({ code }) => code))], ["filter_undecidable"]);
});

test("only what has a handler is sent", async (t) => {
	const { WebSocket, received } = recordingSocket();
	const one = open(t, { WebSocket });
	const named = record();
	one.on.broadcast("*", named.handler);
	const { ready, off } = one.on("claims", "INSERT", () => {});
	await ready;
	await publish(server.url, insert("other", { id: 1 }));
	off();
	await settled(one);
	await publish(server.url, insert("claims", { id: 2 }), insert("other", { id: 3 }));
	await settled(one);
	const tables = received.filter(({ type }) => type === "postgres_changes").map(({ table }) => table);
	assert.deepEqual([...new Set(tables)], ["barrier"]);
});

test("handlers share a subscription, which ends with the last of them", async (t) => {
	const { WebSocket, sent } = recordingSocket();
	const one = open(t, { WebSocket });
	const [first, second] = [one.on("claims", "*", () => {}), one.on("claims", "*", () => {})];
	await Promise.all([first.ready, second.ready]);
	first.off();
	await settled(one);
	const ofClaims = () => sent.filter(({ type, table }) => type === "subscribe" && table === "claims").length;
	assert.equal(sent.filter(({ type, id }) => type === "unsubscribe" && id === "s1").length, 0);
	second.off();
	second.off();
	await settled(one);
	assert.equal(sent.filter(({ type, id }) => type === "unsubscribe" && id === "s1").length, 1);
	assert.equal(ofClaims(), 0, "it went with the token");
});

test("a handler that is replaced within one turn misses nothing and costs nothing", async (t) => {
	const { WebSocket, sent } = recordingSocket();
	const one = open(t, { WebSocket });
	const heard = record();
	let { ready, off } = one.on("claims", "*", heard.handler);
	await ready;
	const before = sent.length;
	for (let turn = 0; turn < 10; turn += 1) {
		off();
		({ off } = one.on("claims", "*", heard.handler));
		one.on("claims", "*", () => {}, { filter: `id=eq.${turn}` }).off();
	}
	await publish(server.url, insert("claims", {}));
	await heard.count(1);
	assert.equal(sent.length, before);
});

test("a subscription is ready when it stands: what is published then, comes", async (t) => {
	const one = open(t);
	one.connect();
	for (let round = 0; round < 20; round += 1) {
		const heard = record();
		await one.on(`ready_${round}`, "INSERT", heard.handler).ready;
		await publish(server.url, insert(`ready_${round}`, {}));
		await heard.count(1);
	}
});
