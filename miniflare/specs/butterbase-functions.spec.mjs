/**
 * Butterbase's clients: events that functions behind a service binding answer, and the server's heartbeats.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { APP, ButterbaseClient, change, deploy, userToken } from "../butterbase.mjs";

/** Answers with its input, with text, with an error, not at all, or late. */
const FUNCTIONS = `
export default {
	async fetch(request) {
		const { pathname } = new URL(request.url);
		if (pathname === "/late") await scheduler.wait(60_000);
		if (pathname === "/crash") throw new Error("no");
		if (pathname === "/text") return new Response("so it is");
		const headers = ["organization", "user", "role"].map((name) => request.headers.get("x-realtime-" + name));
		const body = { headers, method: request.method, body: await request.json() };
		return Response.json(body, { status: pathname === "/teapot" ? 418 : 200 });
	},
};`;
const events = { echo: "/echo", text: "/text", teapot: "/teapot", crash: "/crash", late: "/late" };
const server = await deploy(
	{ tables: { messages: {} }, butterbase: { tables: ["*"], public: ["*"], functions: { binding: "FUNCTIONS", events } } },
	{
		worker: { serviceBindings: { FUNCTIONS: "functions" } },
		workers: [{ name: "functions", modules: true, script: FUNCTIONS, compatibilityDate: "2026-01-01" }],
	},
);
after(() => server.dispose());

const connected = (user) => ButterbaseClient.connect(server, { token: userToken(user) });

test("a function is called with event, payload and caller, and answers its caller only", async () => {
	const [ann, ben] = [await connected("änn"), await connected("ben")];
	const call = { type: "event", event: "echo", payload: { text: "hello" }, id: 1 };
	const { data, ...answer } = await ann.ask(call, "event_response");
	assert.deepEqual(answer, { type: "event_response", event: "echo", status: 200, id: 1 });
	assert.deepEqual(data.body, { event: "echo", payload: { text: "hello" } });
	assert.deepEqual([data.method, ...data.headers], ["POST", APP, "%C3%A4nn", "butterbase_user"]);
	assert.equal((await ann.ask({ type: "event", event: "text" }, "event_response")).data, "so it is");
	const teapot = await ann.ask({ type: "event", event: "teapot", payload: null }, "event_response");
	assert.deepEqual([teapot.status, teapot.data.body.payload], [418, null], "an error's body is an answer, with its status");
	assert.equal((await ann.ask({ type: "event", event: "nope", id: 2 }, "error")).message, "No handler for event: nope");
	await ben.settled();
	assert.deepEqual(ben.of("event_response"), []);
	await Promise.all([ann.close(), ben.close()]);
});

test("two calls of one name are told apart", async () => {
	const client = await connected("ann");
	for (const id of [1, 2]) client.send({ type: "event", event: "echo", payload: id, id });
	await client.until(() => client.of("event_response").length === 2);
	const pairs = client.of("event_response").map(({ id, data }) => [id, data.body.payload]);
	assert.deepEqual(pairs.toSorted(), [[1, 1], [2, 2]]);
	await client.close();
});

test("a failure and a time-out are told, the socket waits for neither, and hears a heartbeat each half minute", async () => {
	const client = await connected("ann");
	await client.subscribe("messages");
	const started = Date.now();
	client.send({ type: "event", event: "late", id: "late" });
	const failed = await client.ask({ type: "event", event: "crash", id: "crash" }, "error");
	assert.deepEqual([failed.message, failed.id], ["Event handler execution failed", "crash"]);
	await change(server, "messages", "INSERT", { new: { id: 1 } });
	await client.until(() => client.changes.length === 1);
	assert.deepEqual(client.of("error").map(({ id }) => id), ["crash"], "the late one is still awaited");
	await client.until(() => client.of("error").length === 2);
	const late = client.of("error")[1];
	assert.deepEqual([late.message, late.id], ["Event handler execution failed", "late"]);
	assert.ok(Date.now() - started >= 24_000, "it had the time that is given to it");
	await client.until(() => client.of("heartbeat").length > 0);
	const [{ timestamp, ...rest }] = client.of("heartbeat");
	assert.deepEqual(rest, { type: "heartbeat" });
	assert.ok(Date.parse(timestamp) >= started && timestamp === new Date(timestamp).toISOString(), timestamp);
	await client.close();
});
