import assert from "node:assert/strict";
import { after, test } from "node:test";
import { message, post, start } from "../fixture.mjs";

const server = await start();
after(() => server.dispose());

test("health tells the version", async () => {
	const response = await fetch(`${server.url}/health`);
	assert.equal(response.status, 200);
	const { version } = await response.json();
	assert.match(version, /^\d+\.\d+\.\d+/);
});

test("a refused request leaves its caller's connection whole", async () => {
	const refusals = [
		[401, { token: "bad" }],
		[415, { headers: { "content-type": "text/plain" } }],
		[404, { path: "/realtime/v1/nothing" }],
		[401, { path: "/realtime/v1/ws-ticket", token: "bad" }],
	];
	for (const size of [10, 3_000, 200_000]) {
		const body = { organizationId: "org_1", ...message("x".repeat(size)) };
		for (let round = 0; round < 40; round += 1) {
			for (const [status, options] of refusals) {
				// A reset is an error here.
				const response = await post(server, body, options);
				assert.equal(response.status, status);
				await response.text();
			}
		}
	}
});
