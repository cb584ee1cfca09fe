/**
 * A deployment with a missing or malformed variable names it at its first request, and never reveals its value.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { connect, UpgradeRefused } from "../client.mjs";
import { ACCESS_TOKEN, askForTicket, JWT_SECRET, message, post, socketUrl } from "../fixture.mjs";
import { startServer } from "../server.mjs";

const good = { ACCESS_TOKEN, JWT_SECRET };
const SECRET = "do-not-say";
const key = (more) => [{ name: "k", hash: "0".repeat(64), organizationId: "org_1", ...more }];
const channel = (more) => ({ channels: [{ topic: "room:*", ...more }] });
const table = (more) => ({ tables: { people: more } });

/** Changes to the valid variables (`undefined` removes one), and the field that the refusal names. */
const broken = {
	"no ACCESS_TOKEN": [{ ACCESS_TOKEN: undefined }, "ACCESS_TOKEN"],
	"an empty ACCESS_TOKEN": [{ ACCESS_TOKEN: "" }, "ACCESS_TOKEN"],
	"a short ACCESS_TOKEN": [{ ACCESS_TOKEN: SECRET }, "ACCESS_TOKEN"],
	"a short ACCESS_TOKEN_PREVIOUS": [{ ACCESS_TOKEN_PREVIOUS: SECRET }, "ACCESS_TOKEN_PREVIOUS"],
	"no way to tell who anyone is": [{ JWT_SECRET: undefined }, "JWT_SECRET"],
	"a short JWT_SECRET": [{ JWT_SECRET: SECRET.repeat(3) }, "JWT_SECRET"],
	"a JWKS_URL without TLS": [{ JWKS_URL: "http://login.example/keys" }, "JWKS_URL"],
	"a JWKS_URL that is none": [{ JWKS_URL: "login.example" }, "JWKS_URL"],
	"API_KEYS that is no JSON": [{ API_KEYS: SECRET }, "API_KEYS"],
	"API_KEYS that is no list": [{ API_KEYS: { hash: SECRET } }, "API_KEYS"],
	"an API key instead of its hash": [{ API_KEYS: key({ hash: SECRET }) }, "API_KEYS[0].hash"],
	"an API key of no organization": [{ API_KEYS: [{ name: "k", hash: "0".repeat(64) }] }, "API_KEYS[0].organizationId"],
	"an API key with a misspelt member": [{ API_KEYS: key({ role: "admin" }) }, "API_KEYS[0].role"],
	"a DEFAULT_ORGANIZATION that can be none": [{ DEFAULT_ORGANIZATION: "our company" }, "DEFAULT_ORGANIZATION"],
	"an ORGANIZATION_DOMAIN with a star": [{ ORGANIZATION_DOMAIN: "*.example.com" }, "ORGANIZATION_DOMAIN"],
	"REALTIME that is no JSON": [{ REALTIME: "{" }, "REALTIME"],
	"REALTIME that is no object": [{ REALTIME: [] }, "REALTIME"],
	"an unknown key": [{ REALTIME: { tabels: {} } }, "REALTIME.tabels"],
	"an unknown key of a table": [{ REALTIME: table({ requiredRole: ["a"] }) }, "REALTIME.tables.people.requiredRole"],
	"an unknown mask": [{ REALTIME: table({ masking: { ssn: { type: "hide" } } }) }, "REALTIME.tables.people.masking.ssn.type"],
	"a row rule that names nothing": [{ REALTIME: table({ rows: [{}] }) }, "REALTIME.tables.people.rows[0]"],
	"a channel without topic": [{ REALTIME: { channels: [{}] } }, "REALTIME.channels[0].topic"],
	"a channel with an open brace": [{ REALTIME: channel({ topic: "a{b" }) }, "REALTIME.channels[0].topic"],
	"a channel with an unknown right": [{ REALTIME: channel({ reed: {} }) }, "REALTIME.channels[0].reed"],
	"a channel whose grant is a list": [{ REALTIME: channel({ read: ["member"] }) }, "REALTIME.channels[0].read"],
	"an unknown limit": [{ REALTIME: { limits: { conections: 1 } } }, "REALTIME.limits.conections"],
	"a limit that is no number": [{ REALTIME: { limits: { connections: "10" } } }, "REALTIME.limits.connections"],
	"a frame larger than a message": [{ REALTIME: { limits: { frameBytes: 4_194_305 } } }, "REALTIME.limits.frameBytes"],
	"publicTopics that is no truth value": [{ REALTIME: { publicTopics: "no" } }, "REALTIME.publicTopics"],
	"a malformed history": [{ REALTIME: { history: { count: -1 } } }, "REALTIME.history.count"],
};

const logs = [];
async function deploy(context, vars) {
	const all = Object.entries({ ...good, ...vars }).filter(([, value]) => value !== undefined);
	const server = await startServer({ vars: Object.fromEntries(all), onLog: ({ message: line }) => logs.push(line) });
	context.after(() => server.dispose());
	// The system may reuse a port to which fetch still has a connection of the previous server.
	await fetch(`${server.url}/health`).catch(() => {});
	return server;
}

for (const [what, [vars, field]] of Object.entries(broken)) {
	test(`${what} is told by its name`, async (context) => {
		const before = logs.length;
		const server = await deploy(context, vars);
		const response = await post(server, { organizationId: "org_1", ...message(1) });
		const text = await response.text();
		assert.equal(response.status, 500, text);
		const { error } = JSON.parse(text);
		assert.deepEqual([error.code, error.field], ["configuration", field]);
		assert.match(error.message, new RegExp(field.split(/[.[]/)[0]));
		assert.doesNotMatch(text, new RegExp(SECRET));
		const lines = logs.slice(before).map((line) => JSON.parse(line));
		const line = lines.find(({ event, code }) => event === "refused" && code === "configuration");
		assert.equal(line?.message, error.message, "whoever reads the log learns as much");
		const health = await fetch(`${server.url}/health`);
		assert.equal(health.status, 200);
	});
}

test("every request says so, and none reaches an object", async (context) => {
	const server = await deploy(context, { ACCESS_TOKEN: undefined });
	const ticket = await askForTicket(server, "x");
	assert.deepEqual([ticket.status, (await ticket.json()).error.code], [500, "configuration"]);
	assert.equal((await fetch(`${server.url}/realtime/v1/stats?organizationId=org_1`)).status, 500);
	for (const parameters of [{ organizationId: "org_1" }, {}]) {
		const error = await connect(socketUrl(server, parameters)).catch((error) => error);
		assert.ok(error instanceof UpgradeRefused);
		assert.deepEqual([error.status, JSON.parse(error.body).error.code], [500, "configuration"]);
	}
	assert.equal((await fetch(`${server.url}/realtime/v1/nothing`)).status, 404);
});

test("what may be absent may be absent, and objects may come as text", async (context) => {
	for (const vars of [
		{},
		{ JWT_SECRET: undefined, JWKS_URL: "https://login.example/keys" },
		{ JWT_SECRET: undefined, API_KEYS: JSON.stringify(key()) },
		{ REALTIME: JSON.stringify({ limits: { connections: 1 } }), ALLOWED_ORIGINS: "", DEFAULT_ORGANIZATION: "org_1" },
	]) {
		const server = await deploy(context, vars);
		assert.equal((await post(server, { organizationId: "org_1", ...message(1) })).status, 202);
	}
});

test("no value of a secret was logged", () => {
	assert.doesNotMatch(logs.join("\n"), new RegExp(`${SECRET}|${ACCESS_TOKEN}|${JWT_SECRET}`));
});
