/**
 * Every publishing function, against the built Worker: a subscriber receives what the helper was given.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { ACCESS_TOKEN, join, start, subscribe, unread } from "../../miniflare/fixture.mjs";
import { createRealtime, defineRealtime, payload } from "realtime-worker/server";
import { listenToTypes } from "./server-rig.mjs";

const server = await start();
after(() => server.dispose());

const env = { REALTIME_URL: server.url, ACCESS_TOKEN };
const realtime = createRealtime(env);

test("changes and messages arrive in the documented frames", async () => {
	const client = await join(server, "ada", ["admin"], { organizationId: "org_frames" });
	const row = { id: "mat_123", title: "Breaking News", status: "pending" };
	const [pending, completed] = [{ id: "mat_123", status: "pending" }, { id: "mat_123", status: "completed" }];
	const done = { materialId: "mat_123", claimCount: 5, duration: 1234 };
	const receipt = await realtime.insert("materials", row, "org_frames");
	await realtime.update("materials", completed, pending, "org_frames");
	await realtime.update("materials", completed, null, "org_frames");
	await realtime.delete("materials", { id: "mat_123" }, "org_frames");
	await realtime.broadcast("processing-complete", done, "org_frames");
	await realtime.broadcast("nothing", undefined, "org_frames");
	const change = { type: "postgres_changes", table: "materials", schema: "public" };
	assert.deepEqual(await unread(client), [
		{ ...change, eventType: "INSERT", new: row, old: null },
		{ ...change, eventType: "UPDATE", new: completed, old: pending },
		{ ...change, eventType: "UPDATE", new: completed, old: null },
		{ ...change, eventType: "DELETE", new: null, old: { id: "mat_123" } },
		{ type: "broadcast", event: "processing-complete", payload: done },
		{ type: "broadcast", event: "nothing", payload: null },
	]);
	assert.deepEqual({ ...receipt, epoch: typeof receipt.epoch }, {
		accepted: 1,
		duplicate: false,
		epoch: "string",
		offset: receipt.offset,
		delivered: 1,
	});
});

test("a table's name may hold its schema", async () => {
	const client = await join(server, "ada", ["admin"], { organizationId: "org_schema" });
	await realtime.insert("billing.invoices", { id: 1 }, "org_schema");
	const [{ schema, table }] = await unread(client);
	assert.deepEqual([schema, table], ["billing", "invoices"]);
});

test("users, roles, fields, masks and topics narrow who receives what", async () => {
	const organizationId = "org_audience";
	const admin = await join(server, "ada", ["admin", "member"], { organizationId });
	const member = await join(server, "mel", ["member"], { organizationId });
	await subscribe(member, "s1", { topic: "room:1" });
	const payloads = async (client) => (await unread(client)).map((frame) => frame.payload ?? frame.new);

	await realtime.broadcast("for", "mel", organizationId, { userId: "mel" });
	await realtime.broadcast("for", "admins", organizationId, { targetRoles: ["admin"] });
	await realtime.broadcast("for", "the room", organizationId, { topic: "room:1" });
	await realtime.insert("employees", { id: "e1", ssn: "123-45-6789", note: "x" }, organizationId, {
		fields: ["id", "ssn"],
		maskingConfig: { ssn: { type: "ssn", show: { roles: ["admin"], or: "owner" } } },
	});
	await realtime.insert("employees", { id: "e2", boss: "mel", ssn: "123-45-6789" }, organizationId, {
		ownerField: "boss",
		maskingConfig: { ssn: { type: "ssn", show: { or: "owner" } } },
	});
	assert.deepEqual(await payloads(admin), [
		"admins",
		{ id: "e1", ssn: "123-45-6789" },
		{ id: "e2", boss: "mel", ssn: "*****6789" },
	]);
	assert.deepEqual(await payloads(member), [
		"mel",
		"the room",
		{ id: "e1", ssn: "*****6789" },
		{ id: "e2", boss: "mel", ssn: "123-45-6789" },
	]);
});

test("bytes arrive as such, and what is not to be kept is not replayed", async () => {
	const organizationId = "org_kinds";
	const client = await join(server, "ada", ["admin"], { organizationId, recover: true });
	await realtime.insert("claims", { id: "kept" }, organizationId);
	await realtime.insert("claims", { id: "not kept" }, organizationId, { history: false });
	await realtime.broadcast("waveform", "AAEC", organizationId, { encoding: "base64" });
	await realtime.broadcast("tick", 1, organizationId, { history: false });
	const torn = realtime.broadcast("waveform", "AAE", organizationId, { encoding: "base64" });
	await assert.rejects(torn, { code: "invalid_request", field: "payload" });
	const events = (frames) => frames.map((frame) => frame.new?.id ?? [frame.payload, frame.encoding]);
	const bytes = ["AAEC", "base64"];
	assert.deepEqual(events(await unread(client)), ["kept", "not kept", bytes, [1, undefined]]);
	const { epoch, offset } = client.welcome;
	const back = await join(server, "ada", ["admin"], { organizationId, recover: { epoch, offset } });
	assert.deepEqual(events(await unread(back)), ["kept", bytes]);
});

test("clients of Supabase are told the types of the columns", async () => {
	const types = await listenToTypes(server, "payments");
	await realtime.insert("payments", { id: "7", amount: "1.5" }, "org_1", { columns: { id: "int8", amount: "numeric" } });
	assert.deepEqual(await types(), { id: "int8", amount: "numeric" });
});

test("an id is delivered once", async () => {
	const client = await join(server, "ada", ["admin"], { organizationId: "org_id" });
	const first = await realtime.broadcast("paid", 1, "org_id", { id: "payment-1" });
	const second = await realtime.broadcast("paid", 1, "org_id", { id: "payment-1" });
	assert.deepEqual(second, { ...first, duplicate: true });
	assert.equal((await unread(client)).length, 1);
});

test("namespaces send their events", async () => {
	const extraction = defineRealtime({ name: "extraction", events: { started: payload(), completed: payload() } });
	const notifications = defineRealtime({ name: "notifications", events: ["new"], description: "For users" });
	const spaces = createRealtime(env, { namespaces: [extraction, notifications] });
	const client = await join(server, "ada", ["admin"], { organizationId: "org_spaces" });
	await spaces.extraction.started({ materialId: "mat_123" }, "org_spaces");
	await spaces.notifications.new({ id: 1 }, "org_spaces", { userId: "mel" });
	await spaces.notifications.new({ id: 2 }, "org_spaces", { userId: "ada" });
	assert.deepEqual(await unread(client), [
		{ type: "broadcast", event: "extraction:started", payload: { materialId: "mat_123" } },
		{ type: "broadcast", event: "notifications:new", payload: { id: 2 } },
	]);
	assert.throws(() => defineRealtime({ name: "batch", events: [] }), { code: "invalid_request", field: "name" });
});

test("a batch is delivered in order, or refused as one", async () => {
	const presence = defineRealtime({ name: "presence", events: ["joined"] });
	const spaces = createRealtime(env, { namespaces: [presence] });
	const client = await join(server, "ada", ["admin"], { organizationId: "org_batch" });
	const receipt = await spaces.batch("org_batch", async (batch) => {
		batch.insert("claims", { id: "c1" });
		await null;
		batch.presence.joined({ userId: "ada" }, { userId: "ada" });
		batch.delete("claims", { id: "c1" });
	});
	assert.equal(receipt.accepted, 3);
	const refused = spaces.batch("org_batch", (batch) => {
		batch.insert("claims", { id: "c2" });
		batch.broadcast("", {});
	});
	await assert.rejects(refused, { name: "RealtimeError", code: "invalid_request", status: 400, field: "messages[1].event" });
	assert.equal(await spaces.batch("org_batch", () => {}), undefined);
	const kinds = (await unread(client)).map((frame) => frame.eventType ?? frame.event);
	assert.deepEqual(kinds, ["INSERT", "presence:joined", "DELETE"]);
});

test("what could widen the audience by mistake is refused before it is sent", async () => {
	const client = await join(server, "ada", ["admin"], { organizationId: "org_safe" });
	for (const name of ["userId", "targetRoles", "topic", "fields", "maskingConfig", "id"]) {
		const sent = realtime.insert("claims", { id: "c1" }, "org_safe", { [name]: undefined });
		await assert.rejects(sent, { code: "invalid_request", field: name, status: 0, retryable: false });
	}
	const misspelt = realtime.insert("claims", { id: "c1" }, "org_safe", { targetRole: ["admin"] });
	await assert.rejects(misspelt, { code: "invalid_request", field: "targetRole", status: 400, retryable: false });
	assert.deepEqual(await unread(client), []);
});

test("errors say what is wrong, and hold no secret", async () => {
	const wrong = "a-wrong-access-token-0123456789";
	const publish = (changes, organizationId = "org_1") =>
		createRealtime({ ...env, ...changes }).broadcast("e", 1, organizationId);
	const refusals = [
		[() => publish({ ACCESS_TOKEN: wrong }), { code: "unauthorized", status: 401 }],
		[() => publish({ REALTIME_URL: `${server.url}/realtime/v2` }), { code: "not_found", status: 404 }],
		[() => publish({}, "no organization"), { code: "invalid_request", field: "organizationId" }],
		[() => realtime.broadcast("e", "x".repeat(1 << 20), "org_1"), { code: "payload_too_large", status: 413 }],
		[
			() => realtime.insert("t", {}, "org_1", { maskingConfig: { a: { type: "blur" } } }),
			{ code: "unknown_mask_type", field: "maskingConfig.a.type" },
		],
	];
	for (const [send, expected] of refusals) {
		const error = await send().then(assert.fail, (refusal) => refusal);
		assert.deepEqual(pick(error, expected), expected);
		assert.equal(error.retryable, false);
		assert.ok(!`${error.stack} ${JSON.stringify(error)}`.includes(wrong));
	}
	const message = { name: "RealtimeError", code: "configuration" };
	assert.throws(() => createRealtime({ REALTIME_URL: server.url }), { ...message, message: /ACCESS_TOKEN/ });
	assert.throws(() => createRealtime({ ACCESS_TOKEN }), { ...message, message: /REALTIME_URL/ });
});

function pick(object, like) {
	return Object.fromEntries(Object.keys(like).map((name) => [name, object[name]]));
}
