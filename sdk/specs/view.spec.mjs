/**
 * `view` shows what the stream shows: according to the table of tests that tests/views.rs checks the Worker with, and
 * on random rules and rows with the built Worker.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, test } from "node:test";
import { createRealtime, realtimeVariable } from "realtime-worker/server";
import { createView, sessionToken, viewer } from "realtime-worker/view";
import { ACCESS_TOKEN, join, JWT_SECRET, socketUrl, start, unread } from "../../miniflare/fixture.mjs";
import { connect } from "../../miniflare/client.mjs";

const cases = JSON.parse(readFileSync(new URL("../../tests/data/views.json", import.meta.url), "utf8"));
const asViewer = ({ user, roles, claims }) => ({ userId: user, roles, claims });

for (const { name, table, rows, viewers } of cases) {
	test(name, () => {
		for (const one of viewers) assert.deepEqual(createView({ rows: table })("rows", rows, asViewer(one)), one.sees, one.user);
	});
}

test("random rules and rows are to `view` what they are to the Worker", async () => {
	const random = generator(2_026);
	const tables = Object.fromEntries(Array.from({ length: 12 }, (_, n) => [`t${n}`, randomTable(random)]));
	const server = await start(realtimeVariable({ tables }));
	after(() => server.dispose());
	const people = [["u1", []], ["u2", ["a"]], ["u3", ["b"]], ["u4", ["a", "b"]]].map(([user, roles]) => ({ user, roles, claims: { teams: [random(3), `${random(3)}`] } }));
	const clients = await Promise.all(people.map(({ user, roles, claims }) => join(server, user, roles, { claims })));
	const realtime = createRealtime({ REALTIME_URL: server.url, ACCESS_TOKEN });
	const view = createView(tables);
	for (const table of Object.keys(tables)) {
		const rows = Array.from({ length: 40 }, () => randomRow(random));
		await realtime.batch("org_1", (batch) => rows.forEach((row) => batch.insert(table, row)));
		for (const [index, client] of clients.entries()) {
			const seen = (await unread(client)).map((frame) => frame.new);
			assert.deepEqual(view(table, rows, asViewer(people[index])), seen, JSON.stringify({ table: tables[table], viewer: people[index] }));
		}
	}
});

test("dates are text, and a viewer who is nobody, or a table that is none, shows nothing", () => {
	const view = createView({ events: {} });
	const at = new Date(0);
	assert.deepEqual(view("events", [{ at, none: undefined }], { roles: [] }), [{ at: at.toJSON() }]);
	assert.deepEqual(view("events", [{ at }], null), []);
	assert.throws(() => view("evnts", [], { roles: [] }), TypeError);
	assert.throws(() => view("toString", [], { roles: [] }), TypeError);
	const masked = createView({ events: { masking: { a: { type: "unheard of" }, b: { type: "constructor" } }, rows: [{ column: "a" }, { roles: ["x"] }] } });
	assert.deepEqual(masked("events", [{ a: 1, b: 2, "\ud800": 1 }, { a: "\ud800", b: 1 }], { roles: ["x"] }), [{ a: "[REDACTED]", b: "[REDACTED]" }]);
	assert.deepEqual(masked("events", [{ a: 1 }], { userId: "1", roles: ["y", ""] }), []);
});

test("the viewer of a session of Better Auth has the roles of its own membership, and no other's", () => {
	const session = { user: { id: "u7", role: "admin" }, session: { activeOrganizationId: "org_1" } };
	const member = { userId: "u7", organizationId: "org_1", role: "hr, member,hr" };
	assert.deepEqual(viewer(session, member), { userId: "u7", organizationId: "org_1", roles: ["hr", "member"] });
	for (const other of [null, undefined, { ...member, userId: "u8" }, { ...member, organizationId: "org_2" }]) {
		assert.deepEqual(viewer(session, other).roles, []);
	}
	assert.equal(viewer(null, member), null);
	assert.equal(viewer({ ...session, session: {} }, member), null);
});

test("a viewer's token is taken by the Worker, with its roles and claims", async (context) => {
	const server = await start({ tables: { tasks: { requiredRoles: ["hr"], rows: [{ column: "team", claim: "team" }] } } });
	context.after(() => server.dispose());
	const token = await sessionToken({ userId: "\u00e9mile", organizationId: "org_1", roles: ["hr"], claims: { team: "red", sub: "other", organizationId: "org_2" } }, JWT_SECRET);
	const client = await connect(socketUrl(server));
	client.send({ type: "auth", token, organizationId: "org_1" });
	const { userId, roles } = await client.next(({ type }) => type === "auth_success");
	assert.deepEqual([userId, roles], ["\u00e9mile", ["hr"]]);
	await createRealtime({ REALTIME_URL: server.url, ACCESS_TOKEN }).batch("org_1", (batch) => ["blue", "red"].forEach((team) => batch.insert("tasks", { team })));
	assert.deepEqual((await unread(client)).map((frame) => frame.new.team), ["red"]);
	await assert.rejects(sessionToken({ roles: [] }, JWT_SECRET), /no organization/);
	await assert.rejects(sessionToken({ organizationId: "o", roles: [] }, "short"), /32 bytes/);
});

/** Numbers below a bound, the same ones each time. */
function generator(seed) {
	let state = seed;
	return (bound) => {
		state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
		return Math.floor((state / 2 ** 32) * bound);
	};
}

const TYPES = ["email", "phone", "ssn", "creditCard", "name", "redact"];

function randomTable(random) {
	const pick = (items) => items[random(items.length)];
	const some = (items) => items.filter(() => random(2));
	const rule = () => ({ type: pick(TYPES), ...(random(3) && { show: { roles: some(["a", "b"]), ...(random(2) && { or: "owner" }) } }) });
	const paths = some(["id", "email", "tags", "deep.a", "deep.a.b", "deep", "team"]);
	const rows = [{ roles: ["a"] }, { column: "team", claim: "teams" }, { roles: ["b"], column: "userId", claim: "sub" }];
	return {
		masking: Object.fromEntries(paths.map((path) => [path, rule()])),
		...(random(2) && { rows: some(rows) }),
		...(random(3) === 0 && { fields: some(["id", "email", "deep", "tags"]) }),
		...(random(4) === 0 && { requiredRoles: ["a"] }),
		...(random(4) === 0 && { ownerField: "id" }),
	};
}

function randomRow(random) {
	const pick = (...items) => items[random(items.length)];
	const scalar = () => pick(null, true, "", "u1", "x@y.com", "\u00e9.b@c\u00fc.d\u00e9", "12 34 56", random(1e6), random(1e6) / 7, random(9) * 1e20, random(9) / 1e9, -random(9e9));
	const nested = (depth) => (depth === 0 || random(3) === 0 ? scalar() : pick([nested(depth - 1), nested(depth - 1)], { a: nested(depth - 1), b: scalar() }, { "a.b": scalar() }));
	const row = { id: pick("u1", "u2", random(9)), team: pick(random(3), `${random(3)}`, null), userId: pick("u1", "u3", null), email: scalar(), tags: nested(2), deep: nested(3) };
	return Object.fromEntries(Object.entries(row).filter(() => random(5)));
}
