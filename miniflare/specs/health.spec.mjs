import assert from "node:assert/strict";
import { after, test } from "node:test";
import { connect } from "../client.mjs";
import { message, post, socketUrl, start, tokenOf } from "../fixture.mjs";

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
		[400, { path: "/realtime/v1/ws-ticket", token: "bad" }],
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

test("the slashes of a base address do not matter", async () => {
	for (const path of ["//broadcast", "/broadcast/", "//realtime/v1/broadcast/"]) {
		const response = await post(server, { organizationId: "org_1", ...message(path) }, { path });
		assert.equal(response.status, 202, path);
	}
	for (const path of ["//realtime/v1/websocket", "/realtime/v1/websocket/"]) {
		const client = await connect(`${server.url}${path}?organizationId=org_1`);
		await client.close();
	}
});

test("a socket that offers subprotocols gets the first", async () => {
	const key = tokenOf("ann", ["member"]);
	const targets = [{ organizationId: "org_1" }, {}, { vsn: "2.0.0", apikey: key }];
	for (const parameters of targets) {
		const client = await connect(socketUrl(server, parameters), { protocols: ["realtime.v1", "other"] });
		assert.equal(client.socket.protocol, "realtime.v1");
		await client.close();
	}
});
