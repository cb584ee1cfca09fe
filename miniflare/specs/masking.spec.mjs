/**
 * Who sees what of a row: rules of the configuration and of the request combined, on live connections of four kinds.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { insert, join, message, publish, start, stats, tokenOf, unread } from "../fixture.mjs";

const server = await start({
	tables: {
		employees: {
			requiredRoles: ["member", "hr", "admin"],
			fields: ["id", "user_id", "name", "ssn", "salary", "address"],
			masking: {
				ssn: { type: "ssn", show: { roles: ["admin"], or: "owner" } },
				salary: { type: "redact", show: { roles: ["hr", "admin"] } },
			},
		},
		tasks: {
			rows: [{ roles: ["admin"] }, { column: "team", claim: "teams" }, { column: "user_id", claim: "sub" }],
			masking: { note: { type: "redact", show: { or: "owner", roles: ["admin"] } } },
		},
		silent: { onUpdate: false },
	},
});
after(() => server.dispose());

const admin = await join(server, "ada", ["admin"]);
const hr = await join(server, "hank", ["hr"]);
const member = await join(server, "mia", ["member"]);
const owner = await join(server, "olga", ["member"]);
const guest = await join(server, "gus", ["guest"]);
const everyone = { admin, hr, member, owner, guest };

/** Publishes and returns the frames that each received. */
async function seen(event) {
	const { delivered } = await publish(server, event);
	const frames = await Promise.all(Object.entries(everyone).map(async ([who, client]) => [who, await unread(client)]));
	assert.equal(delivered, frames.reduce((sum, [, of]) => sum + of.length, 0));
	return Object.fromEntries(frames);
}

/** What each saw of the only published row, in `column`; `undefined` for those who received nothing. */
async function cells(event, column) {
	const frames = await seen(event);
	return Object.fromEntries(Object.entries(frames).map(([who, [frame]]) => [who, frame && frame.new[column]]));
}

const olga = { id: 1, user_id: "olga", name: "Olga Smith", ssn: "123-45-6789", salary: 91000 };
const update = (table, before, after) => ({ type: "postgres_changes", table, eventType: "UPDATE", new: after, old: before });

test("the configuration's masks need nothing of the request", async () => {
	const masked = "*****6789";
	assert.deepEqual(await cells(insert("employees", olga), "ssn"), {
		admin: "123-45-6789",
		hr: masked,
		member: masked,
		owner: "123-45-6789",
		guest: undefined,
	});
	assert.deepEqual(await cells(insert("employees", olga), "salary"), {
		admin: 91000,
		hr: 91000,
		member: "[REDACTED]",
		owner: "[REDACTED]",
		guest: undefined,
	});
});

test("a request can hide more", async () => {
	const event = { ...insert("employees", olga), maskingConfig: { name: { type: "name", show: { roles: ["hr"] } } } };
	assert.deepEqual(await cells(event, "name"), {
		admin: "O***",
		hr: "Olga Smith",
		member: "O***",
		owner: "O***",
		guest: undefined,
	});
});

test("a request cannot show more", async () => {
	const everybody = { roles: ["admin", "hr", "member", "guest"], or: "owner" };
	const event = {
		...insert("employees", { ...olga, extra: "not in fields" }),
		fields: ["id", "ssn", "extra"],
		targetRoles: ["hr", "member", "guest"],
		maskingConfig: { ssn: { type: "name", show: everybody } },
	};
	const frames = await seen(event);
	assert.deepEqual(frames.admin, []);
	assert.deepEqual(frames.guest, []);
	assert.deepEqual(frames.hr[0].new, { id: 1, ssn: "*****6789" });
	assert.deepEqual(frames.member[0].new, { id: 1, ssn: "*****6789" });
	assert.deepEqual(frames.owner[0].new, { id: 1, ssn: "123-45-6789" });
});

test("a request cannot make someone else the owner", async () => {
	const event = { ...insert("employees", { ...olga, created_by: "mia" }), maskingConfig: {} };
	assert.equal((await cells(event, "ssn")).member, "*****6789");
});

test("every mask type and what does not fit it", async () => {
	const masks = [
		["email", "john@yourdomain.com", "j***@y*********.com"],
		["phone", "(555) 123-4567", "******4567"],
		["ssn", "123-45-6789", "*****6789"],
		["ssn", 123456789, "*****6789"],
		["creditCard", "4111-1111-1111-1111", "**** **** **** 1111"],
		["name", "John Smith", "J***"],
		["redact", 91000, "[REDACTED]"],
		["email", "no address", "[REDACTED]"],
		["phone", "1234", "[REDACTED]"],
		["name", { first: "John" }, "[REDACTED]"],
		["ssn", [123456789], "[REDACTED]"],
		["creditCard", true, "[REDACTED]"],
		["redact", null, null],
	];
	const entries = masks.map(([type, value], index) => [`c${index}`, { type, value }]);
	const row = Object.fromEntries(entries.map(([name, { value }]) => [name, value]));
	const maskingConfig = Object.fromEntries(entries.map(([name, { type }]) => [name, { type }]));
	const frames = await seen({ ...insert("anything", row), maskingConfig });
	const expected = Object.fromEntries(masks.map(([, , shown], index) => [`c${index}`, shown]));
	for (const who of Object.keys(everyone)) assert.deepEqual(frames[who][0].new, expected);
});

test("a mask reaches into nested objects and into text that holds one", async () => {
	const maskingConfig = { "address.phone": { type: "phone", show: { roles: ["admin"] } } };
	const row = (address) => ({ ...insert("anything", { address }), maskingConfig });
	const nested = await cells(row({ phone: "555 123 4567", city: "Bonn" }), "address");
	assert.deepEqual(nested.member, { phone: "******4567", city: "Bonn" });
	assert.deepEqual(nested.admin, { phone: "555 123 4567", city: "Bonn" });
	const text = await cells(row('{"phone":"5551234567"}'), "address");
	assert.equal(text.member, "[REDACTED]");
	const list = await cells(row([{ phone: "5551234567" }, { city: "Bonn" }]), "address");
	assert.deepEqual(list.member, [{ phone: "******4567" }, { city: "Bonn" }]);
});

test("new and old are each judged by their own owner", async () => {
	const event = update("employees", { ...olga, ssn: "999-99-1111" }, { ...olga, user_id: "mia" });
	const frames = await seen(event);
	assert.deepEqual([frames.owner[0].new.ssn, frames.owner[0].old.ssn], ["*****6789", "999-99-1111"]);
	assert.deepEqual([frames.member[0].new.ssn, frames.member[0].old.ssn], ["123-45-6789", "*****1111"]);
	assert.deepEqual([frames.hr[0].new.ssn, frames.hr[0].old.ssn], ["*****6789", "*****1111"]);
});

test("a message's payload is masked in the same way", async () => {
	const payload = { userId: "olga", email: "olga@example.com", list: [1] };
	const frames = await seen(message(payload, { maskingConfig: { email: { type: "email", show: { roles: ["hr"], or: "owner" } } } }));
	assert.equal(frames.owner[0].payload.email, "olga@example.com");
	assert.equal(frames.hr[0].payload.email, "olga@example.com");
	for (const who of ["admin", "member", "guest"]) assert.equal(frames[who][0].payload.email, "o***@e******.com");
});

const kinds = (frames) => Object.fromEntries(Object.entries(frames).map(([who, of]) => [who, of.map(({ eventType }) => eventType)]));

test("a row reaches only those who may see it", async () => {
	const teammate = await join(server, "tim", ["member"], { claims: { teams: ["red", "blue"] } });
	await publish(server, insert("tasks", { id: 1, user_id: "olga", team: "red" }));
	const counts = await Promise.all([teammate, admin, hr, member, owner, guest].map(async (one) => (await unread(one)).length));
	assert.deepEqual(counts, [1, 1, 0, 0, 1, 0]);
	await teammate.close();
});

test("an update that hides a row is a delete of what was seen, one that shows it an insert", async () => {
	const task = { id: 7, user_id: "olga", note: "private" };
	const frames = await seen(update("tasks", task, { ...task, user_id: "mia", note: "for mia" }));
	assert.deepEqual(kinds(frames), { admin: ["UPDATE"], hr: [], member: ["INSERT"], owner: ["DELETE"], guest: [] });
	assert.deepEqual([frames.owner[0].new, frames.owner[0].old], [null, task]);
	assert.deepEqual([frames.member[0].new, frames.member[0].old], [{ ...task, user_id: "mia", note: "for mia" }, null]);
	assert.deepEqual([frames.admin[0].new.user_id, frames.admin[0].old.user_id], ["mia", "olga"]);
});

test("without old nobody learns of a row that was never theirs", async () => {
	const frames = await seen(update("tasks", null, { id: 8, user_id: "mia" }));
	assert.deepEqual(kinds(frames), { admin: ["UPDATE"], hr: [], member: ["UPDATE"], owner: [], guest: [] });
});

test("deletes are judged on old", async () => {
	const frames = await seen({ type: "postgres_changes", table: "tasks", eventType: "DELETE", old: { id: 9, user_id: "olga" } });
	assert.deepEqual(kinds(frames), { admin: ["DELETE"], hr: [], member: [], owner: ["DELETE"], guest: [] });
});

test("an operation that is switched off is not announced", async () => {
	assert.deepEqual(kinds(await seen(update("silent", null, { id: 1 }))).admin, []);
	assert.deepEqual(kinds(await seen(insert("silent", { id: 1 }))).guest, ["INSERT"]);
});

test("a connection's new roles hold from the refresh on", async () => {
	const client = await join(server, "zoe", ["member"]);
	client.send({ type: "auth", token: tokenOf("zoe", ["admin"]) });
	assert.deepEqual((await client.next()).roles, ["admin"]);
	await publish(server, insert("employees", olga));
	assert.equal((await unread(client))[0].new.ssn, "123-45-6789");
	client.send({ type: "auth", token: tokenOf("zoe", ["guest"]) });
	assert.deepEqual((await client.next()).roles, ["guest"]);
	await publish(server, insert("employees", olga));
	assert.deepEqual(await unread(client), []);
	for (const other of Object.values(everyone)) await unread(other);
	await client.close();
});

test("the figures count everyone by role", async () => {
	assert.deepEqual((await stats(server)).byRole, { admin: 1, guest: 1, hr: 1, member: 2 });
});
