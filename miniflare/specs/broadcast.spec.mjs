/**
 * `POST /broadcast`: what is accepted, how refusals are worded, and that a refused request reaches nobody.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { ACCESS_TOKEN, insert, join, message, post, publish, start, tokenOf, unread } from "../fixture.mjs";

const PREVIOUS = "the-access-token-of-last-month-0123456789";
const server = await start({}, { vars: { ACCESS_TOKEN_PREVIOUS: PREVIOUS } });
after(() => server.dispose());
const slow = await start({ limits: { publicationsPerSecond: 1 } });
after(() => slow.dispose());

/** Receives everything: an unread frame after a refusal was delivered in spite of it. */
const witness = await join(server, "witness", ["admin", "member"]);

/** Posts a body that must be refused, and checks that nobody received anything. Returns the error. */
async function refused(body, status, options) {
	const response = await post(server, body, options);
	const { error, ...rest } = await response.json();
	assert.equal(response.status, status, JSON.stringify(error));
	assert.deepEqual(rest, {});
	assert.equal(response.headers.get("content-type"), "application/json");
	assert.ok(error.message.length > 0);
	assert.deepEqual(await unread(witness), []);
	return error;
}

test("a change is delivered with exactly the keys of the contract", async () => {
	const receipt = await publish(server, insert("claims", { id: 1, big: 12345678901234567890n.toString() }));
	assert.deepEqual(Object.keys(receipt), ["accepted", "delivered", "duplicate", "epoch", "offset"]);
	assert.equal(receipt.accepted, 1);
	assert.equal(receipt.duplicate, false);
	assert.equal(receipt.delivered, 1);
	assert.equal(receipt.offset, 1);
	assert.deepEqual(await witness.next(), {
		type: "postgres_changes",
		table: "claims",
		eventType: "INSERT",
		schema: "public",
		new: { id: 1, big: "12345678901234567890" },
		old: null,
	});
});

test("updates and deletes carry the rows that they are about", async () => {
	const update = { type: "postgres_changes", schema: "crm", table: "claims", eventType: "UPDATE", new: { id: 1, a: 2 } };
	await publish(server, update);
	await publish(server, { ...update, old: { id: 1, a: 1 } });
	await publish(server, { ...update, eventType: "DELETE", old: { id: 1, a: 2 } });
	await publish(server, { ...update, eventType: "INSERT", old: { id: 1, a: 1 } });
	const [first, second, third, fourth] = await unread(witness);
	assert.deepEqual([first.schema, first.new, first.old], ["crm", { id: 1, a: 2 }, null]);
	assert.deepEqual([second.new, second.old], [{ id: 1, a: 2 }, { id: 1, a: 1 }]);
	assert.deepEqual([third.eventType, third.new, third.old], ["DELETE", null, { id: 1, a: 2 }]);
	assert.deepEqual([fourth.eventType, fourth.new, fourth.old], ["INSERT", { id: 1, a: 2 }, null]);
});

test("a message's payload is any JSON, byte for byte", async () => {
	const payloads = ["null", "0.10", "1e400", '"é\\u0000"', "[1,2]", '{"b":1,"a":{"c":12345678901234567890}}'];
	const frames = [];
	const listen = (data) => frames.push(data.toString());
	witness.socket.on("message", listen);
	for (const payload of payloads) {
		const response = await post(server, `{"organizationId":"org_1","type":"broadcast","event":"n","payload":${payload}}`);
		assert.equal(response.status, 202);
	}
	await unread(witness);
	witness.socket.off("message", listen);
	assert.deepEqual(frames.slice(0, -1), payloads.map((payload) => `{"type":"broadcast","event":"n","payload":${payload}}`));
});

test("a batch is delivered in its order and answered with its last offset", async () => {
	const before = await publish(server, message("before"));
	const messages = Array.from({ length: 100 }, (_, index) => message(index));
	const receipt = await publish(server, { messages });
	assert.equal(receipt.accepted, 100);
	assert.equal(receipt.delivered, 100);
	assert.equal(receipt.offset, before.offset + 100);
	const frames = await unread(witness);
	assert.deepEqual(frames.map(({ payload }) => payload), ["before", ...messages.keys()]);
});

test("every audience field narrows the audience", async () => {
	const ann = await join(server, "ann", ["hr"]);
	const ben = await join(server, "ben", ["member"]);
	const told = async (more) => {
		await publish(server, message("x", more));
		const frames = await Promise.all([ann, ben, witness].map(unread));
		return frames.map(({ length }) => length);
	};
	assert.deepEqual(await told({}), [1, 1, 1]);
	assert.deepEqual(await told({ userId: "ann" }), [1, 0, 0]);
	assert.deepEqual(await told({ targetRoles: ["hr", "admin"] }), [1, 0, 1]);
	assert.deepEqual(await told({ targetRoles: [] }), [0, 0, 0]);
	assert.deepEqual(await told({ userId: "ann", targetRoles: ["admin"] }), [0, 0, 0]);
	assert.deepEqual(await told({ userId: "ann", targetRoles: ["hr"] }), [1, 0, 0]);
	assert.deepEqual(await told({ topic: "room:1" }), [0, 0, 0]);
	assert.deepEqual(await told({ topic: "room:1", private: false }), [0, 0, 0]);
	assert.deepEqual(await told({ organizationId: "org_2" }), [0, 0, 0]);
	await Promise.all([ann.close(), ben.close()]);
});

test("every field that shapes the row is understood", async () => {
	const row = { id: 1, ssn: "123-45-6789", keeper: "witness", secret: "s" };
	await publish(server, {
		...insert("people", row),
		fields: ["id", "ssn"],
		ownerField: "keeper",
		maskingConfig: { ssn: { type: "ssn", show: { roles: ["hr"], or: "owner" } } },
	});
	assert.deepEqual((await witness.next()).new, { id: 1, ssn: "123-45-6789" });
});

test("the same idempotency key is delivered once and answered like the first time", async () => {
	const event = message("once", { id: "key-1" });
	const first = await publish(server, event);
	const second = await publish(server, event);
	assert.deepEqual(second, { ...first, duplicate: true });
	assert.deepEqual((await unread(witness)).map(({ payload }) => payload), ["once"]);

	const batch = await publish(server, { messages: [event, message("new", { id: "key-2" }), message("new", { id: "key-2" })] });
	assert.equal(batch.accepted, 3);
	assert.equal(batch.duplicate, false);
	assert.deepEqual((await unread(witness)).map(({ payload }) => payload), ["new"]);
});

test("ten retries at the same moment deliver once", async () => {
	const receipts = await Promise.all(Array.from({ length: 10 }, () => publish(server, message("x", { id: "race" }))));
	assert.equal(receipts.filter(({ duplicate }) => !duplicate).length, 1);
	assert.equal(new Set(receipts.map(({ offset }) => offset)).size, 1);
	assert.equal((await unread(witness)).length, 1);
});

test("a retry after a crash of the object delivers nothing either", async () => {
	const event = { organizationId: "org_crash", ...message("x", { id: "before the crash" }) };
	const first = await publish(server, event);
	await server.evict("org_crash", "close");
	assert.deepEqual(await publish(server, event), { ...first, duplicate: true });
});

const row = { organizationId: "org_1", ...insert("t", { id: 1 }) };
const note = { organizationId: "org_1", ...message(1) };
const masked = (rule) => ({ ...row, maskingConfig: { ssn: rule } });
const malformed = [
	["a missing organization", { ...note, organizationId: undefined }, "organizationId"],
	["an organization of other characters", { ...note, organizationId: "a/b" }, "organizationId"],
	["an organization of 129 characters", { ...note, organizationId: "a".repeat(129) }, "organizationId"],
	["a missing type", { ...note, type: undefined }, "type"],
	["an unknown type", { ...note, type: "presence" }, "type"],
	["a missing table", { ...row, table: undefined }, "table"],
	["an unknown eventType", { ...row, eventType: "TRUNCATE" }, "eventType"],
	["an INSERT without new", { ...row, new: undefined }, "new"],
	["an UPDATE without new", { ...row, eventType: "UPDATE", new: null }, "new"],
	["a DELETE without old", { ...row, eventType: "DELETE" }, "old"],
	["a row that is no object", { ...row, new: [1] }, "new"],
	["a missing event", { ...note, event: undefined }, "event"],
	["an empty event", { ...note, event: "" }, "event"],
	["a missing payload", { ...note, payload: undefined }, "payload"],
	["private without a topic", { ...note, private: true }, "private"],
	["private that is no truth value", { ...note, topic: "t", private: "no" }, "private"],
	["targetRoles that is no array", { ...note, targetRoles: "admin" }, "targetRoles"],
	["a role that is no string", { ...note, targetRoles: ["a", 1] }, "targetRoles[1]"],
	["a null user, which would mean everyone", { ...note, userId: null }, "userId"],
	["fields of a message", { ...note, fields: ["id"] }, "fields"],
	["an idempotency key of 256 bytes", { ...note, id: "x".repeat(256) }, "id"],
	["a misspelt key", { ...note, targetRole: ["admin"] }, "targetRole"],
	["a misspelt key within a batch", { organizationId: "org_1", messages: [message(1), message(1, { usrId: "u" })] }, "messages[1].usrId"],
	["an organization within a batch", { organizationId: "org_1", messages: [note] }, "messages[0].organizationId"],
	["a key beside a batch", { organizationId: "org_1", messages: [message(1)], userId: "u" }, "userId"],
	["an empty batch", { organizationId: "org_1", messages: [] }, "messages"],
	["a batch of 101", { organizationId: "org_1", messages: Array(101).fill(message(1)) }, "messages"],
	["a batch with one mistake in the middle", { organizationId: "org_1", messages: [message(1), { type: "x" }, message(3)] }, "messages[1].type"],
	["a misspelt key of a mask", masked({ type: "ssn", shown: {} }), "maskingConfig.ssn.shown"],
	["a misspelt key of show", masked({ type: "ssn", show: { role: ["a"] } }), "maskingConfig.ssn.show.role"],
	["show that is open to an unknown kind", masked({ type: "ssn", show: { or: "everyone" } }), "maskingConfig.ssn.show.or"],
	["a mask without type", masked({}), "maskingConfig.ssn.type"],
];
for (const [what, body, field] of malformed) {
	test(`${what} is refused, naming the place`, async () => {
		const error = await refused(body, 400);
		assert.deepEqual([error.code, error.field], ["invalid_request", field]);
	});
}

test("an unknown mask type has a code of its own", async () => {
	const error = await refused({ organizationId: "org_1", messages: [message(1), { ...insert("t", { id: 1 }), maskingConfig: { ssn: { type: "SSN" } } }] }, 400);
	assert.deepEqual([error.code, error.field], ["unknown_mask_type", "messages[1].maskingConfig.ssn.type"]);
});

test("what is no JSON object is refused without being quoted", async () => {
	for (const body of ["", "secret", "[]", '{"organizationId":"org_1"', '"x"', `${JSON.stringify(note)} secret`]) {
		const error = await refused(body, 400);
		assert.equal(error.code, "invalid_request");
		assert.doesNotMatch(error.message, /secret/);
	}
	assert.equal((await refused(Buffer.from([0x22, 0xff, 0x22]), 400)).code, "invalid_request");
	assert.equal((await refused(`${JSON.stringify(note).slice(0, -1)},"userId":"a","userId":"b"}`, 400)).code, "invalid_request");
});

test("a missing and a wrong token get the same answer", async () => {
	const wrong = [{}, { authorization: "" }, { authorization: "Bearer" }, { authorization: `Basic ${ACCESS_TOKEN}` }];
	wrong.push({ authorization: `Bearer ${ACCESS_TOKEN}x` }, { authorization: `Bearer ${tokenOf("u", ["admin"])}` });
	const bodies = new Set();
	for (const headers of wrong) {
		const response = await fetch(`${server.url}/broadcast`, {
			method: "POST",
			headers: { "content-type": "application/json", ...headers },
			body: JSON.stringify(note),
		});
		assert.equal(response.status, 401);
		bodies.add(await response.text());
	}
	assert.equal(bodies.size, 1);
	assert.equal(JSON.parse([...bodies][0]).error.code, "unauthorized");
	assert.deepEqual(await unread(witness), []);
});

test("who has no token learns nothing about the body", async () => {
	assert.equal((await refused("no JSON", 401, { token: "wrong" })).code, "unauthorized");
	assert.equal((await refused("x".repeat(1_100_000), 401, { token: "wrong" })).code, "unauthorized");
});

test("the previous token is accepted while it is being replaced", async () => {
	assert.equal((await post(server, note, { token: PREVIOUS })).status, 202);
	assert.equal((await unread(witness)).length, 1);
});

test("the alias publishes too", async () => {
	assert.equal((await post(server, note, { path: "/realtime/v1/broadcast" })).status, 202);
	assert.equal((await unread(witness)).length, 1);
});

test("an unknown path is 404, another method 405 with what is allowed", async () => {
	assert.equal((await refused(note, 404, { path: "/realtime/v1/nothing" })).code, "not_found");
	for (const method of ["GET", "PUT", "DELETE"]) {
		const response = await fetch(`${server.url}/broadcast`, { method });
		assert.equal(response.status, 405);
		assert.equal(response.headers.get("allow"), "POST");
		assert.equal((await response.json()).error.code, "method_not_allowed");
	}
});

test("another media type is refused", async () => {
	for (const type of ["text/plain", "application/jsonp", "application/x-www-form-urlencoded"]) {
		assert.equal((await refused(note, 415, { headers: { "content-type": type } })).code, "unsupported_media_type");
	}
	assert.equal((await post(server, note, { headers: { "content-type": "Application/JSON; charset=utf-8" } })).status, 202);
	assert.equal((await unread(witness)).length, 1);
});

test("a body over 1 MiB is refused, declared or not; one of 1 MiB is not", async () => {
	const bytes = 1024 * 1024;
	const empty = JSON.stringify({ ...note, payload: "" }).length;
	const body = (size) => JSON.stringify({ ...note, payload: "x".repeat(size - empty) });
	assert.equal((await refused(body(bytes + 1), 413)).code, "payload_too_large");
	const chunks = new Blob([body(bytes + 1)]).stream();
	assert.equal((await refused(chunks, 413, { duplex: "half" })).code, "payload_too_large");

	assert.equal((await post(server, body(bytes))).status, 202);
	assert.equal((await post(server, new Blob([body(bytes)]).stream(), { duplex: "half" })).status, 202);
	assert.deepEqual((await unread(witness)).map(({ payload }) => payload.length), [bytes - empty, bytes - empty]);
});

test("too many publications a second are refused until later, and nothing of them is delivered", async () => {
	const client = await join(slow, "u");
	await publish(slow, { messages: Array(100).fill(message("in the burst")) });
	const response = await post(slow, { organizationId: "org_1", messages: [message(1), message(2)] });
	assert.equal(response.status, 429);
	assert.equal(response.headers.get("retry-after"), "2", "two of them at one a second");
	assert.equal((await response.json()).error.code, "rate_limited");
	assert.equal((await unread(client)).length, 100);
});
