/**
 * Table subscriptions: without any, everything is received; with some, only what matches.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { insert, join, message, publish, start, subscribe, tokenOf, unread } from "../fixture.mjs";

const server = await start({
	tables: {
		payroll: { requiredRoles: ["hr"] },
		people: { masking: { ssn: { type: "ssn", show: { roles: ["hr"] } } }, columns: { age: "int8", ssn: "text" } },
	},
});
after(() => server.dispose());

const client = await join(server, "u");
const change = (table, eventType, row, more = {}) => {
	const rows = eventType === "DELETE" ? { old: row } : { new: row };
	return { type: "postgres_changes", table, eventType, ...rows, ...more };
};

/** The ids of the rows that this subscription receives of these changes. */
async function ids(target, changes, of = client) {
	assert.deepEqual(await subscribe(of, "s", target), { type: "subscribed", id: "s" });
	await publish(server, { messages: changes });
	const frames = await unread(of);
	of.send({ type: "unsubscribe", id: "s" });
	assert.deepEqual(await of.next(), { type: "unsubscribed", id: "s" });
	return frames.map((frame) => (frame.new ?? frame.old).id);
}

test("without a subscription every change comes", async () => {
	await publish(server, { messages: [insert("a", { id: 1 }), insert("b", { id: 2 }, { schema: "crm" })] });
	assert.equal((await unread(client)).length, 2);
});

test("with one, only its table's changes come; messages come all the same", async () => {
	assert.deepEqual(await ids({ table: "a" }, [insert("a", { id: 1 }), insert("b", { id: 2 })]), [1]);
	assert.deepEqual(await ids({ table: "a", schema: "crm" }, [insert("a", { id: 1 }), insert("a", { id: 2 }, { schema: "crm" })]), [2]);
	await subscribe(client, "a", { table: "a" });
	await publish(server, message("note"));
	assert.equal((await unread(client))[0].payload, "note");
	client.send({ type: "unsubscribe", id: "a" });
	await client.next();
	await publish(server, insert("b", { id: 3 }));
	assert.equal((await unread(client)).length, 1, "after the last one is gone, everything comes again");
});

test("several subscriptions add up, and nothing comes twice", async () => {
	await subscribe(client, "all", { table: "a" });
	await subscribe(client, "some", { table: "a", filter: "id=gt.1" });
	await subscribe(client, "b", { table: "b" });
	await publish(server, { messages: [insert("a", { id: 1 }), insert("a", { id: 2 }), insert("b", { id: 3 }), insert("c", { id: 4 })] });
	assert.deepEqual((await unread(client)).map((frame) => frame.new.id), [1, 2, 3]);
	for (const id of ["all", "some", "b"]) client.send({ type: "unsubscribe", id });
	await unread(client);
});

test("an event narrows to inserts, updates or deletes", async () => {
	const changes = [change("t", "INSERT", { id: 1 }), change("t", "UPDATE", { id: 2 }), change("t", "DELETE", { id: 3 })];
	assert.deepEqual(await ids({ table: "t", event: "INSERT" }, changes), [1]);
	assert.deepEqual(await ids({ table: "t", event: "UPDATE" }, changes), [2]);
	assert.deepEqual(await ids({ table: "t", event: "DELETE" }, changes), [3]);
	assert.deepEqual(await ids({ table: "t", event: "*" }, changes), [1, 2, 3]);
});

const rows = [
	{ id: 1, status: "open", age: 9, tags: ["a"], done: false, note: null },
	{ id: 2, status: "closed", age: "10", tags: ["a", "b"], done: true, note: "x" },
	{ id: 3, status: "on hold", age: 11, done: null },
];
const filters = {
	"status=eq.open": [1],
	"status=neq.open": [2, 3],
	"age=gt.9": [2, 3],
	"age=gte.10": [2, 3],
	"age=lt.10": [1],
	"age=lte.10": [1, 2],
	"status=in.(open,closed)": [1, 2],
	'status=in.("on hold")': [3],
	"status=like.o%": [1, 3],
	"done=is.true": [2],
	"id=eq.4": [],
};
for (const [filter, expected] of Object.entries(filters)) {
	test(`the filter ${filter} lets rows ${expected.join(" and ") || "none"} pass`, async () => {
		assert.deepEqual(await ids({ table: "people", filter }, rows.map((row) => insert("people", row))), expected);
	});
}

test("deletes are filtered by the row that was there", async () => {
	const changes = rows.map((row) => change("people", "DELETE", row));
	assert.deepEqual(await ids({ table: "people", filter: "status=eq.closed" }, changes), [2]);
});

test("a filter tells nothing about a value that is masked", async () => {
	const secret = [insert("people", { id: 1, ssn: "123-45-6789" })];
	const hr = await join(server, "h", ["hr"]);
	assert.deepEqual(await ids({ table: "people", filter: "ssn=eq.123-45-6789" }, secret), []);
	assert.deepEqual(await ids({ table: "people", filter: "ssn=gt.0" }, secret), []);
	await unread(hr);
	assert.deepEqual(await ids({ table: "people", filter: "ssn=eq.123-45-6789" }, secret, hr), [1]);
	await hr.close();
});

test("a table of other roles cannot be subscribed to", async () => {
	const refusal = await subscribe(client, "p", { table: "payroll" });
	assert.deepEqual([refusal.type, refusal.code, refusal.id], ["error", "forbidden", "p"]);
});

test("what is wrong with a subscription is told, with its id", async () => {
	const wrong = await join(server, "w");
	await subscribe(wrong, "taken", { table: "t" });
	const refusals = [
		[{ id: "taken", table: "t" }, "subscription_exists", "taken"],
		[{ id: "s", table: "t", filter: "status" }, "invalid_filter", "s"],
		[{ id: "s", table: "t", filter: "status=near.x" }, "invalid_filter", "s"],
		[{ id: "s", table: "t", event: "TRUNCATE" }, "invalid_frame", "s"],
		[{ id: "s", table: "t", topic: "room:1" }, "invalid_frame", "s"],
		[{ id: "s", tabel: "t" }, "invalid_frame", "s"],
		[{ id: "s" }, "invalid_frame", "s"],
		[{ table: "t" }, "invalid_frame", undefined],
	];
	for (const [frame, code, id] of refusals) {
		wrong.send({ type: "subscribe", ...frame });
		const refusal = await wrong.next();
		assert.deepEqual([refusal.type, refusal.code, refusal.id], ["error", code, id]);
	}
	wrong.send({ type: "unsubscribe", id: "s" });
	assert.equal((await wrong.next()).code, "unknown_subscription");
	await wrong.close();
});

test("subscriptions can come with the auth frame, and stand before anything is delivered", async () => {
	const early = await join(server, "e", ["member"], {
		subscriptions: [{ id: "a", table: "a" }, { id: "p", table: "payroll" }, { id: "room", topic: "room:1" }],
	});
	const answers = (await unread(early)).map(({ type, id, code }) => [type, id, code]);
	assert.deepEqual(answers, [
		["subscribed", "a", undefined],
		["error", "p", "forbidden"],
		["subscribed", "room", undefined],
	]);
	await publish(server, { messages: [insert("a", { id: 1 }), insert("b", { id: 2 }), message(3, { topic: "room:1" })] });
	assert.deepEqual((await unread(early)).map((frame) => frame.new?.id ?? frame.payload), [1, 3]);
	await early.close();
});

test("a subscription that new roles do not allow is taken away at the refresh", async () => {
	const hr = await join(server, "h", ["hr"]);
	await subscribe(hr, "p", { table: "payroll" });
	hr.send({ type: "auth", token: tokenOf("h", ["member"]) });
	assert.deepEqual((await unread(hr)).map(({ type, code, id }) => [type, code, id]), [
		["auth_success", undefined, undefined],
		["error", "forbidden", "p"],
	]);
	await publish(server, insert("payroll", { id: 1 }));
	assert.deepEqual(await unread(hr), []);
	await hr.close();
});
