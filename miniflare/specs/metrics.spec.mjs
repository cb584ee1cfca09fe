/**
 * Prometheus metrics: the same figures, for the requested organizations only.
 */
import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import { after, test } from "node:test";
import { ACCESS_TOKEN, join, message, publish, start, stats, tokenOf } from "../fixture.mjs";

const lines = [];
const logged = new EventEmitter();
const server = await start(
	{},
	{
		onLog: ({ message: line }) => {
			lines.push(line);
			logged.emit("line");
		},
	},
);
after(() => server.dispose());

function ask(organizationId, token = ACCESS_TOKEN) {
	const query = new URLSearchParams({ ...(organizationId !== undefined && { organizationId }) });
	return fetch(`${server.url}/realtime/v1/metrics?${query}`, { headers: { authorization: `Bearer ${token}` } });
}

/** The samples by name and labels. Every line must be valid for Prometheus. */
function parse(text) {
	const samples = new Map();
	const types = new Map();
	for (const line of text.trimEnd().split("\n")) {
		const [, announced, type] = /^# TYPE (\w+) (gauge|counter)$/.exec(line) ?? [];
		if (announced) types.set(announced, type);
		if (line.startsWith("#")) continue;
		const [, name, labels, value] = /^([a-z_]+)\{((?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)+)\} (-?[\d.]+(?:e[+-]?\d+)?)$/.exec(line) ?? [];
		assert.ok(types.has(name), line);
		assert.equal(name.endsWith("_total"), types.get(name) === "counter", line);
		assert.ok(!samples.has(`${name}{${labels}}`), `twice: ${line}`);
		samples.set(`${name}{${labels}}`, Number(value));
	}
	return samples;
}

/** The organizations whose objects have started. */
async function woken() {
	const path = `/realtime/v1/barrier-${lines.length}`;
	await fetch(server.url + path);
	while (!lines.some((line) => line.includes(path))) await once(logged, "line");
	const events = lines.map((line) => JSON.parse(line)).filter(({ event }) => event === "woken");
	return events.map((event) => event.organizationId);
}

test("the figures of those that are named are those of the statistics", async () => {
	const [ada, bob] = [await join(server, "ada"), await join(server, "bob", ["member"], { organizationId: "org_2" })];
	await publish(server, { messages: [message(1), message(2)] });
	const response = await ask("org_2,org_1");
	assert.deepEqual([response.status, response.headers.get("content-type")], [200, "text/plain; version=0.0.4; charset=utf-8"]);
	const samples = parse(await response.text());
	const figures = await stats(server, "org_1");
	const of = (name, organization = "org_1") => samples.get(`realtime_${name}{organization="${organization}"}`);
	assert.equal(samples.get('realtime_connections{organization="org_1",dialect="quickback"}'), 1);
	assert.equal(samples.get('realtime_connections{organization="org_2",dialect="quickback"}'), 1);
	assert.deepEqual([of("publications_total"), of("deliveries_total"), of("stream_offset"), of("up")], [2, 2, figures.offset, 1]);
	assert.equal(of("publications_total", "org_2"), 0);
	assert.equal(of("object_start_time_seconds"), figures.since / 1_000);
	assert.ok([...samples.keys()].every((name) => !/"(ada|bob|member)"/.test(name)), "no label that clients choose");
	await Promise.all([ada.close(), bob.close()]);
});

test("nobody is woken who is not named, and nobody without the access token counts anything", async () => {
	const before = await woken();
	assert.equal((await ask(undefined)).status, 400);
	for (const token of ["", "nonsense", tokenOf("ada", ["admin"])]) assert.equal((await ask("org_secret", token)).status, 401, token);
	for (const names of ["a,", "a b", "a/b", Array.from({ length: 21 }, (_, n) => `o${n}`).join()]) assert.equal((await ask(names)).status, 400, names);
	assert.deepEqual(await woken(), before);
	assert.equal((await ask("org_named")).status, 200);
	assert.deepEqual(await woken(), [...before, "org_named"]);
});
