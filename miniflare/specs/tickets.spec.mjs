/**
 * Tickets: short-lived credentials for pages, valid for one connection, and the CORS rules of the request for one.
 */
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { after, test } from "node:test";
import { connect, UpgradeRefused } from "../client.mjs";
import { ACCESS_TOKEN, askForTicket, now, publish, message, socketUrl, start, ticketFor, tokenOf, unread } from "../fixture.mjs";

const APP = "https://app.example";
const server = await start();
after(() => server.dispose());
const guarded = await start({}, { vars: { ALLOWED_ORIGINS: `${APP}, https://staging.example/`, DEFAULT_ORGANIZATION: "org_main" } });
after(() => guarded.dispose());

const enter = (ticket, organizationId = "org_1", options) => connect(socketUrl(server, { ws_ticket: ticket, organizationId }), options);

async function refused(connecting, status, code) {
	const error = await connecting.catch((error) => error);
	assert.ok(error instanceof UpgradeRefused, String(error));
	assert.deepEqual([error.status, JSON.parse(error.body).error.code], [status, code]);
}

/** A ticket as the server would sign it. */
function sign(ticket, secret = ACCESS_TOKEN) {
	const principal = { user: "u", roles: ["member"], method: "session", expires: null, claims: {} };
	const content = { id: "0".repeat(32), organization: "org_1", expires: Date.now() + 60_000, principal, ...ticket };
	const payload = Buffer.from(JSON.stringify(content)).toString("base64url");
	const key = createHmac("sha256", secret).update("realtime-worker ticket 1").digest();
	return `${payload}.${createHmac("sha256", key).update(payload).digest("base64url")}`;
}

test("a ticket is good for sixty seconds and opens a connection without a frame", async () => {
	const response = await askForTicket(server, tokenOf("tom", ["admin"]));
	assert.equal(response.status, 200);
	assert.equal(response.headers.get("cache-control"), "no-store");
	const { wsTicket, expiresIn } = await response.json();
	assert.equal(expiresIn, 60);
	const client = await enter(wsTicket);
	assert.deepEqual(await client.next(), {
		type: "auth_success",
		organizationId: "org_1",
		userId: "tom",
		role: "admin",
		roles: ["admin"],
		authMethod: "session",
	});
	await publish(server, message("for tom", { userId: "tom" }));
	assert.equal((await unread(client)).length, 1);
	client.send({ type: "auth", token: tokenOf("tom", ["member"]) });
	assert.deepEqual((await client.next()).roles, ["member"]);
	await client.close();
});

test("the ticket names the organization, so the URL need not", async () => {
	const client = await connect(socketUrl(server, { ws_ticket: await ticketFor(server, tokenOf("tom")) }));
	assert.equal((await client.next()).organizationId, "org_1");
	await client.close();
});

test("who comes with a ticket can ask for offsets in the URL", async () => {
	const parameters = { ws_ticket: await ticketFor(server, tokenOf("tom")), recover: "true" };
	const client = await connect(socketUrl(server, parameters));
	const { epoch, offset, recovered } = await client.next();
	await client.close();
	assert.equal(recovered, undefined);
	await publish(server, message("missed"));
	const back = await connect(socketUrl(server, { ws_ticket: await ticketFor(server, tokenOf("tom")), epoch, offset }));
	assert.equal((await back.next()).recovered, true);
	assert.deepEqual((await unread(back)).map(({ payload, offset }) => [payload, offset]), [["missed", offset + 1]]);
	await back.close();
});

test("a ticket ends with the token that it was given for", async () => {
	const client = await enter(await ticketFor(server, tokenOf("tom", [], { exp: now() + 1 })));
	await client.next();
	assert.deepEqual(await client.next(), { type: "auth_expired" });
	await client.close();
});

test("a ticket serves once, also when the object has crashed since", async () => {
	const ticket = await ticketFor(server, tokenOf("tom"));
	await (await enter(ticket)).close();
	await refused(enter(ticket), 401, "invalid_token");
	await server.evict("org_1", "close");
	await refused(enter(ticket), 401, "invalid_token");
});

test("of a ticket that is presented twice at the same moment, one gets in", async () => {
	for (let round = 0; round < 20; round += 1) {
		const ticket = await ticketFor(server, tokenOf("tom"));
		const outcomes = await Promise.allSettled([enter(ticket), enter(ticket)]);
		const statuses = outcomes.map(({ value, reason }) => (value ? 101 : reason.status));
		assert.deepEqual(statuses.sort(), [101, 401]);
		await outcomes.find(({ value }) => value).value.close();
	}
});

test("a ticket for another organization opens none", async () => {
	const ticket = await ticketFor(server, tokenOf("tom"));
	await refused(enter(ticket, "org_2"), 401, "invalid_token");
	await (await enter(ticket)).close();
});

test("a bad ticket is refused before the upgrade", async () => {
	const ticket = await ticketFor(server, tokenOf("tom"));
	const [payload, mac] = ticket.split(".");
	const content = JSON.parse(Buffer.from(payload, "base64url"));
	const other = Buffer.from(JSON.stringify({ ...content, principal: { ...content.principal, roles: ["admin"] } }));
	const tampered = ["x", ".", `.${mac}`, `${payload}.`, payload, `${payload}x.${mac}`, `${payload}.${mac.slice(0, -1)}`];
	tampered.push(`${other.toString("base64url")}.${mac}`, `${ticket}.${mac}`, ACCESS_TOKEN, tokenOf("tom"), "x".repeat(9_000));
	for (const bad of tampered) await refused(enter(bad), 401, "invalid_token");
	await refused(enter(sign({}, "another-access-token-of-nobody")), 401, "invalid_token");
	await refused(enter(sign({ expires: Date.now() })), 401, "token_expired");
	await (await enter(sign({}))).close();
});

test("a token in the URL is no ticket", async () => {
	const client = await connect(socketUrl(server, { organizationId: "org_1", token: tokenOf("tom") }));
	client.send({ type: "subscribe", id: "s", table: "t" });
	assert.equal((await client.next()).code, "auth_required");
});

test("a ticket is given for a good token only", async () => {
	const refusal = async (token, body, headers) => {
		const response = await askForTicket(server, token, body, headers);
		const { error } = await response.json();
		return [response.status, error.code, error.field].filter(Boolean);
	};
	assert.deepEqual(await refusal("x"), [401, "invalid_token"]);
	assert.deepEqual(await refusal("x", undefined, { authorization: "" }), [401, "unauthorized"]);
	assert.deepEqual(await refusal(tokenOf("u", [], { exp: now() - 60 })), [401, "token_expired"]);
	assert.deepEqual(await refusal(tokenOf("u"), { organizationId: "org_2" }), [403, "wrong_organization"]);
	assert.deepEqual(await refusal(tokenOf("u"), {}), [400, "invalid_request", "organizationId"]);
	assert.deepEqual(await refusal(tokenOf("u"), { organizationId: "a b" }), [400, "invalid_request", "organizationId"]);
	assert.deepEqual(await refusal(tokenOf("u"), { organizationId: "org_1", org: 1 }), [400, "invalid_request", "org"]);
	assert.deepEqual(await refusal(tokenOf("u"), "x"), [400, "invalid_request"]);
	assert.deepEqual(await refusal(tokenOf("u"), undefined, { "content-type": "text/plain" }), [415, "unsupported_media_type"]);
	const get = await fetch(`${server.url}/realtime/v1/ws-ticket`);
	assert.deepEqual([get.status, get.headers.get("allow")], [405, "POST, OPTIONS"]);
});

test("a deployment with one organization gives tickets for it to who names none", async () => {
	const token = tokenOf("u", [], { organizationId: "org_main" });
	const ticket = await ticketFor(guarded, token, {});
	const client = await connect(socketUrl(guarded, { ws_ticket: ticket }));
	assert.equal((await client.next()).organizationId, "org_main");
	await client.close();
});

const cors = ({ headers }) => headers.get("access-control-allow-origin");
const preflight = (of, origin) =>
	fetch(`${of.url}/realtime/v1/ws-ticket`, {
		method: "OPTIONS",
		headers: { origin, "access-control-request-method": "POST", "access-control-request-headers": "authorization" },
	});

test("any page may ask for a ticket, unless origins are named", async () => {
	const asked = await preflight(server, "https://any.example");
	assert.equal(asked.status, 204);
	assert.equal(cors(asked), "*");
	assert.equal(asked.headers.get("access-control-allow-methods"), "POST");
	assert.equal(asked.headers.get("access-control-allow-headers"), "authorization, content-type");
	assert.equal(cors(await askForTicket(server, tokenOf("u"))), "*");
	assert.equal(cors(await askForTicket(server, "x")), "*", "a page must be able to read the refusal");
});

test("only the named origins may ask for a ticket, each told by its name", async () => {
	const token = tokenOf("u", [], { organizationId: "org_main" });
	for (const origin of [APP, "https://staging.example"]) {
		assert.equal(cors(await preflight(guarded, origin)), origin);
		const response = await askForTicket(guarded, token, {}, { origin });
		assert.deepEqual([response.status, cors(response), response.headers.get("vary")], [200, origin, "origin"]);
		assert.equal(cors(await askForTicket(guarded, "x", {}, { origin })), origin);
	}
	for (const origin of ["https://evil.example", `${APP}.evil.example`, "http://app.example", "null"]) {
		assert.equal(cors(await preflight(guarded, origin)), null);
		const response = await askForTicket(guarded, token, {}, { origin });
		assert.deepEqual([response.status, cors(response)], [403, null]);
		assert.equal((await response.json()).error.code, "origin_not_allowed");
	}
	assert.equal((await askForTicket(guarded, token, {})).status, 200, "what is no page sends no origin");
});

test("only pages of the named origins may connect", async () => {
	const url = socketUrl(guarded, { organizationId: "org_main" });
	await refused(connect(url, { origin: "https://evil.example" }), 403, "origin_not_allowed");
	await refused(connect(socketUrl(guarded, {}), { origin: "https://evil.example" }), 403, "origin_not_allowed");
	await (await connect(url, { origin: APP })).close();
	await (await connect(url)).close();
});
