/**
 * docs/asyncapi.json and docs/openapi.json describe the Worker: they are compared with its golden frames, its codes,
 * and its answers.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { after, test } from "node:test";
import Ajv from "ajv/dist/2020.js";
import { ACCESS_TOKEN, post, start, tokenOf } from "../../miniflare/fixture.mjs";

const read = (path) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");
const [asyncapi, openapi] = ["asyncapi", "openapi"].map((name) => JSON.parse(read(`docs/${name}.json`)));
const contract = read("docs/protocol-native.md");

/** The first cells of a table of the contract, which tests/docs.rs compares with the code. */
function cellsOf(table) {
	const [, rows] = contract.split(`<!-- table: ${table} -->\n`)[1].match(/^((?:\|.*\n)+)/);
	return rows.trim().split("\n").slice(2).map((row) => row.split("|")[1].trim().replaceAll("`", "")).filter(Boolean);
}

/** A validator for one of a document's schemas. */
function compile(document, pointer) {
	const ajv = new Ajv({ strict: false, allErrors: true });
	ajv.addSchema({ ...document, $id: "document" });
	return ajv.compile({ $ref: `document#${pointer}` });
}

const worker = await start({ limits: { publicationsPerSecond: 1_000 } });
after(() => worker.dispose());
const codes = cellsOf("codes");
const client = asyncapi.operations.fromTheClient.messages.map(({ $ref }) => $ref.split("/").at(-1));
const server = asyncapi.operations.fromTheServer.messages.map(({ $ref }) => $ref.split("/").at(-1));

test("the codes are the Worker's", () => {
	const remedy = "node sdk/scripts/describe-codes.mjs writes them";
	for (const { components } of [asyncapi, openapi]) assert.deepEqual(components.schemas.Code.enum, codes, remedy);
});

for (const [side, messages, table] of [["client", client, "client frames"], ["server", server, "server frames"]]) {
	test(`every golden frame of the ${side} is one message of asyncapi.json, and every message has one`, () => {
		const judges = new Map(messages.map((name) => [name, compile(asyncapi, `/components/messages/${name}/payload`)]));
		const seen = new Set();
		const folder = `tests/dialects/native/${side}/`;
		for (const file of readdirSync(new URL(`../../${folder}`, import.meta.url))) {
			const frame = JSON.parse(read(folder + file));
			const fitting = [...judges].filter(([, judge]) => judge(frame)).map(([name]) => name);
			assert.equal(fitting.length, 1, `${file}: ${fitting}`);
			seen.add(fitting[0]);
			assert.ok(![...judges.values()].some((judge) => judge({ ...frame, unheard_of: 1 })), file);
		}
		assert.deepEqual([...seen].sort(), [...messages].sort());
		const types = messages.map((name) => asyncapi.components.messages[name].name);
		assert.deepEqual(new Set(types), new Set(cellsOf(table)));
	});
}

const publication = compile(openapi, "/components/schemas/Publication");
const base = { organizationId: "org_1", type: "broadcast", event: "e", payload: null };
const change = { organizationId: "org_1", type: "postgres_changes", table: "claims", eventType: "INSERT", new: { id: 1 } };

/** Sends a request, and validates the answer. */
async function ask(path, method, expected, response) {
	const { status } = await response;
	const described = openapi.paths[path][method].responses[status];
	assert.ok(described, `${path} has no ${status}`);
	assert.equal(status, expected);
	const pointer = `/paths/${path.replaceAll("/", "~1")}/${method}/responses/${status}/content/application~1json/schema`;
	const judge = compile(openapi, pointer);
	const answer = await (await response).json();
	assert.ok(judge(answer), JSON.stringify([answer, judge.errors]));
	return answer;
}

test("what openapi.json takes the Worker accepts", async () => {
	const masked = { maskingConfig: { ssn: { type: "ssn", show: { roles: ["a"], or: "owner" } } }, ownerField: "id" };
	const bodies = [
		base,
		change,
		{ ...base, topic: "room:1", private: false, userId: "u7", targetRoles: [], history: false, id: "once" },
		{ ...base, payload: "AQL/", encoding: "base64" },
		{ ...change, schema: "hr", fields: ["id"], columns: { id: "int8" }, ...masked },
		{ ...change, eventType: "UPDATE", old: { id: 1 } },
		{ ...change, eventType: "DELETE", new: null, old: { id: 1 } },
		{ organizationId: "org_1", messages: [{ type: "broadcast", event: "e", payload: 1 }] },
	];
	for (const body of bodies) {
		assert.ok(publication(body), JSON.stringify([body, publication.errors]));
		for (const path of ["/broadcast", "/realtime/v1/broadcast"]) await ask(path, "post", 202, post(worker, body, { path }));
	}
});

test("what openapi.json does not take the Worker refuses", async () => {
	const without = ({ [Object.keys(base)[0]]: _, ...rest }) => rest;
	const bodies = [
		{},
		without(base),
		{ ...base, organizationId: "a b" },
		{ ...base, type: "message" },
		{ ...base, event: "" },
		{ ...base, userId: null },
		{ ...base, targetRole: ["a"] },
		{ ...base, targetRoles: "a" },
		{ ...base, encoding: "hex" },
		{ ...base, payload: 7, encoding: "base64" },
		{ ...base, payload: "AQL/", encoding: "base64", maskingConfig: { a: { type: "redact" } } },
		{ ...base, fields: ["id"] },
		{ ...base, id: "x".repeat(256) },
		{ ...base, private: "no" },
		{ ...change, table: "hr.claims" },
		{ ...change, eventType: "UPSERT" },
		{ ...change, new: null },
		{ ...change, new: [1] },
		{ ...change, eventType: "DELETE", new: null },
		{ ...change, maskingConfig: { a: { type: "blur" } } },
		{ ...change, maskingConfig: { a: { type: "ssn", shows: {} } } },
		{ ...change, maskingConfig: { a: { type: "ssn", show: { or: "user" } } } },
		{ organizationId: "org_1", messages: [] },
		{ organizationId: "org_1", messages: [base] },
	];
	for (const body of bodies) {
		assert.ok(!publication(body), JSON.stringify(body));
		await ask("/broadcast", "post", 400, post(worker, body));
	}
});

test("every other route answers as it is described", async () => {
	const get = (path, token) => fetch(worker.url + path, { headers: token ? { authorization: `Bearer ${token}` } : {} });
	await ask("/health", "get", 200, get("/health"));
	await ask("/realtime/v1/stats", "get", 200, get("/realtime/v1/stats?organizationId=org_1", ACCESS_TOKEN));
	await ask("/realtime/v1/stats", "get", 400, get("/realtime/v1/stats", ACCESS_TOKEN));
	await ask("/realtime/v1/stats", "get", 401, get("/realtime/v1/stats?organizationId=org_1"));
	await ask("/realtime/v1/websocket", "get", 426, get("/realtime/v1/websocket?organizationId=org_1"));
	await ask("/realtime/v1/metrics", "get", 400, get("/realtime/v1/metrics", ACCESS_TOKEN));
	await ask("/realtime/v1/metrics", "get", 401, get("/realtime/v1/metrics?organizationId=org_1", tokenOf("ada")));
	const metrics = await get("/realtime/v1/metrics?organizationId=org_1", ACCESS_TOKEN);
	assert.match(metrics.headers.get("content-type"), /^text\/plain; version=0\.0\.4/);
	await ask("/realtime/v1/events", "get", 400, get("/realtime/v1/events", tokenOf("ada")));
	await ask("/realtime/v1/events", "get", 401, get("/realtime/v1/events?organizationId=org_1"));
	await ask("/realtime/v1/events", "get", 403, get("/realtime/v1/events?organizationId=org_2", tokenOf("ada")));
	await ask("/realtime/v1/events", "post", 401, post(worker, {}, { path: "/realtime/v1/events", token: tokenOf("ada") }));
	const ticket = (token, body, headers) => post(worker, body, { path: "/realtime/v1/ws-ticket", token, headers });
	await ask("/realtime/v1/ws-ticket", "post", 200, ticket(tokenOf("ada"), { organizationId: "org_1" }));
	await ask("/realtime/v1/ws-ticket", "post", 403, ticket(tokenOf("ada"), { organizationId: "org_2" }));
	await ask("/realtime/v1/ws-ticket", "post", 401, ticket("nonsense", { organizationId: "org_1" }));
	await ask("/broadcast", "post", 401, post(worker, base, { token: "nonsense" }));
	await ask("/broadcast", "post", 413, post(worker, { ...base, payload: "x".repeat(1 << 20) }));
	await ask("/broadcast", "post", 415, post(worker, base, { headers: { "content-type": "text/plain" } }));
	const paths = Object.keys(openapi.paths).sort();
	const routes = [...contract.matchAll(/`(?:GET|POST) (\/[^`?]*)/g)].map(([, path]) => path).filter((path) => path !== "/" && !path.includes("…"));
	assert.deepEqual(paths, [...new Set(routes)].sort());
});
