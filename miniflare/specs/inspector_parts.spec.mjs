/**
 * The Inspector's logic: what looks masked, which events are the same, why there are none, what is sent.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { launch, openTab } from "../browser.mjs";
import { start } from "../fixture.mjs";

const server = await start({}, { vars: { INSPECTOR: "on" } });
after(() => server.dispose());
const browser = await launch();
after(() => browser.close());
const page = await openTab(browser);
await page.goto(server.url);

/** Calls a function of one of the page's modules. */
function call(module, name, ...given) {
	return page.evaluate(async ({ module, name, given }) => (await import(`/${module}.js`))[name](...given), { module, name, given });
}

test("what each mask leaves looks masked, and ordinary values do not", async () => {
	const masked = ["j***@y*********.com", "******4567", "*****6789", "**** **** **** 1111", "J***", "[REDACTED]", "é***"];
	const clear = ["john@yourdomain.com", "123-45-6789", "John Smith", "", "***", "2 * 3", "* a list", "redacted", 91000, null, true, {}];
	for (const value of masked) assert.equal(await call("masking", "looksMasked", value), true, value);
	for (const value of clear) assert.equal(await call("masking", "looksMasked", value), false, String(value));
	const row = { id: 1, address: { phone: "******4567" }, notes: [{ by: "J***" }], name: "Grace" };
	assert.deepEqual(await call("masking", "maskedPaths", row), ["address.phone", "notes.0.by"]);
});

test("an event of two sides is one, also where the same comes twice at one offset", async () => {
	const pairs = await page.evaluate(async () => {
		const { Pairing } = await import("/pairing.js");
		const pairing = new Pairing();
		const frame = (more) => ({ type: "broadcast", event: "e", payload: 1, offset: 5, ...more });
		for (const side of ["A", "B"]) for (let count = 0; count < 2; count += 1) pairing.add(side, "org_1", frame());
		pairing.add("B", "org_1", frame({ offset: 6 }));
		pairing.add("B", "org_2", frame());
		pairing.add("A", "org_1", frame({ topic: "t" }));
		return [...pairing.pairs.values()].map(({ frames }) => [...frames.keys()].join(""));
	});
	assert.deepEqual(pairs, ["AB", "AB", "B", "B", "A"]);
});

test("what a protocol without offsets brings is put beside the event that it is most like, whichever comes first", async () => {
	const pairs = await page.evaluate(async () => {
		const { Pairing } = await import("/pairing.js");
		const pairing = new Pairing();
		const change = (id, more) => ({ type: "postgres_changes", schema: "public", table: "t", eventType: "INSERT", new: { id, ssn: "123", ...more }, old: null });
		const received = [
			["A", { ...change(1), offset: 1 }],
			["B", change(2, { ssn: "***" })],
			["A", { ...change(2), offset: 2 }],
			["A", { ...change(3), offset: 3 }],
			["B", change(3, { ssn: "***" })],
			["B", change(9, { ssn: "***" })],
		];
		for (const [side, frame] of received) pairing.add(side, "org_1", frame);
		return [...pairing.pairs.values()].map(({ frames, offset }) => [...frames].map(([side, frame]) => side + frame.new.id).join(" ") + ` @${offset}`);
	});
	assert.deepEqual(pairs, ["A1 @1", "B2 A2 @2", "A3 B3 @3", "B9 @undefined"]);
});

test("a comparison shows what was changed, what was not sent and what differs", async () => {
	const change = { type: "postgres_changes", schema: "public", table: "t", eventType: "UPDATE", offset: 1 };
	const admin = { ...change, new: { id: 1, status: "closed", ssn: "1234567" }, old: { id: 1, status: "open" } };
	const member = { ...change, eventType: "DELETE", new: null, old: { id: 1, status: "open" } };
	assert.deepEqual(await call("pairing", "compare", [admin, member]), [
		{ name: "id", differs: false, cells: [{ text: "1", isMasked: false }, { text: "1", isMasked: false }] },
		{ name: "status", differs: true, cells: [{ text: `"open" → "closed"`, isMasked: false }, { text: `"open"`, isMasked: false }] },
		{ name: "ssn", differs: true, cells: [{ text: `"1234567"`, isMasked: false }, undefined] },
	]);
	const [{ differs }] = await call("pairing", "compare", [admin, undefined]);
	assert.equal(differs, false, "with what was not received nothing is compared");
});

test("a draft is the event that the contract asks for: nothing in it is empty", async () => {
	const empty = { topic: "", userId: " ", targetRoles: "", fields: "", maskingConfig: "", ownerField: "", id: "" };
	const change = { ...empty, what: "change", schema: "public", table: "t", eventType: "DELETE", new: `{"id":1}`, old: `{"id":1}`, private: "false" };
	assert.deepEqual(await call("draft", "eventOf", change), {
		event: { type: "postgres_changes", schema: "public", table: "t", eventType: "DELETE", old: { id: 1 } },
		errors: [],
	});
	const message = { ...empty, what: "message", event: "e", payload: "0", topic: "t", private: "true", targetRoles: "a, ,b", fields: "x", ownerField: "y" };
	assert.deepEqual(await call("draft", "eventOf", message), {
		event: { type: "broadcast", event: "e", payload: 0, topic: "t", private: true, targetRoles: ["a", "b"] },
		errors: [],
	});
	const command = await call("draft", "curlOf", "https://example.com", "org_1", { payload: "it's" });
	assert.match(command, /-d '\{[^']*it'\\''s[^']*\}'$/);
});

test("a token's claims are read as the server reads them, and what is no token has none", async () => {
	const token = (claims) => `x.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.y`;
	assert.deepEqual(await call("token", "organizationsOf", token({ org_id: "o", organizations: { "ü": ["a"] } })), ["o", "ü"]);
	assert.equal(await call("token", "expiryOf", token({ exp: 5 })), 5_000);
	for (const other of ["", "an-api-key", "a.b.c", token(null), token("text"), token([])]) assert.deepEqual(await call("token", "organizationsOf", other), [], other);
});

test("the journal keeps the newest frames, and forgets the oldest in time", async () => {
	const [length, first, last] = await page.evaluate(async () => {
		const { Journal } = await import("/journal.js");
		const journal = new Journal();
		for (let count = 1; count <= 50_001; count += 1) journal.add("A", "in", `{"type":"pong"}`);
		return [journal.entries.length, journal.entries[0].sequence, journal.entries.at(-1).sequence];
	});
	assert.deepEqual([length, first, last], [45_000, 5_002, 50_001]);
});

/** A link as the diagnosis sees it. */
const link = (more) => ({
	name: "A",
	organizationId: "org_1",
	status: { state: "connected", attempt: 0 },
	identity: { userId: "u", roles: ["member"] },
	claimed: { organizations: ["org_1"] },
	counts: { events: 0 },
	interests: { list: [{ target: { table: "*", schema: "*", event: "*" }, isDefault: true, state: "standing" }] },
	position: { offset: 3 },
	...more,
});

const titles = async (link, more = {}) => {
	const found = await call("diagnosis", "diagnose", link, { origin: "https://page.example", now: 0, ...more });
	return found.map(({ level, title }) => `${level}: ${title}`);
};

test("every reason for silence that can be seen from here is named", async () => {
	const noTopic = "hint: No topic is subscribed to";
	assert.deepEqual(await titles(link()), ["good: Nothing is wrong here", noTopic]);
	assert.deepEqual(await titles(link({ identity: { userId: null, roles: [] } })), ["good: Nothing is wrong here", "hint: This user has no role", noTopic]);
	assert.deepEqual(await titles(link(), { latest: 5 }), ["good: Nothing is wrong here", noTopic, "hint: 2 newer events were not for this connection"]);
	assert.deepEqual(await titles(link({ claimed: { expiry: 60_000 } })), ["good: Nothing is wrong here", "hint: The token expires in 60 seconds", noTopic]);
	const broken = { state: "waiting", attempt: 1, error: { code: "disconnected", message: "" } };
	assert.deepEqual(await titles(link({ status: broken, ended: { code: 1006 } })), ["problem: The socket broke without a word (1006)"]);
	assert.deepEqual(await titles(link({ status: { state: "closed", error: { code: "connection_limit" } } })), ["problem: Ended: connection_limit"]);
	assert.deepEqual(await titles(link({ status: { state: "closed" } })), ["problem: Disconnected"]);
	const all = link().interests.list[0];
	const topic = { target: { topic: "room:1", private: true }, state: "refused", error: { code: "forbidden", message: "" } };
	assert.deepEqual(await titles(link({ interests: { list: [all, topic] } })), ["problem: private topic room:1 was refused: forbidden", noTopic]);
	const table = { target: { table: "t", schema: "public", event: "*", filter: "x" }, state: "refused", error: { code: "invalid_filter", message: "" } };
	const refused = "problem: all changes of public.t where x was refused: invalid_filter";
	assert.deepEqual(await titles(link({ interests: { list: [table] } })), [refused, "hint: No row change comes", noTopic]);
	const other = { target: { table: "u", schema: "public", event: "INSERT" }, state: "standing" };
	assert.deepEqual(await titles(link({ interests: { list: [table, other] } })), [refused, "hint: Row changes are narrowed", noTopic]);
});

test("what the clients of another protocol cannot get is said", async () => {
	const protocol = { id: "butterbase", title: "Butterbase", isForeign: true, hasWildcard: false, hasTopics: false };
	const butterbase = link({ protocol, position: undefined, interests: { list: [] } });
	assert.deepEqual(await titles(butterbase), ["good: Nothing is wrong here", "hint: No row change comes", "hint: No message comes"]);
	const publication = { organizationId: "org_1", event: { type: "broadcast", event: "e" }, offset: 4, arrivals: [] };
	assert.deepEqual(await titles(butterbase, { publication }), [
		"problem: The last publication from this page did not arrive here",
		"hint: No row change comes",
		"hint: No message comes",
	]);
	const arrived = { ...publication, arrivals: [{ side: "A", offset: undefined }] };
	assert.deepEqual((await titles(butterbase, { publication: arrived }))[0], "good: Nothing is wrong here");
	const silent = { state: "closed", attempt: 0, error: { code: "disconnected", message: "" } };
	assert.deepEqual(await titles(link({ protocol, status: silent, ended: { code: 1006 } })), ["problem: The socket was refused, or broke without a word"]);
});

test("the last publication is judged only once it is accepted, and not where it has arrived", async () => {
	const event = { type: "broadcast", event: "e", targetRoles: ["hr"] };
	const judge = async (more) => {
		const publication = { organizationId: "org_1", event, offset: 4, arrivals: [], ...more };
		const found = await call("diagnosis", "diagnose", link(), { origin: "", now: 0, publication });
		return found.filter(({ level }) => level === "problem").map(({ detail }) => detail);
	};
	const reason = ["It was for holders of hr; this connection holds member."];
	assert.deepEqual(await judge({}), reason);
	assert.deepEqual(await judge({ offset: undefined }), []);
	assert.deepEqual(await judge({ arrivals: [{ side: "A", offset: 4 }] }), []);
	assert.deepEqual(await judge({ arrivals: [{ side: "A", offset: 3 }, { side: "B", offset: 4 }] }), reason);
});
