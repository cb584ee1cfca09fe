/**
 * A process that publishes at a steady rate, whatever becomes of it: beside the clients in one process it would be late, and measure that.
 */
import { Agent, request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

/** Connections to the server, each with one request at a time; what finds none free waits, and its delay grows. */
const CONNECTIONS = 64;

process.on("message", async ({ url, headers, body, rate, count, patience }) => {
	const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
	const [delays, sending] = [[], []];
	const started = performance.now();
	while (sending.length < count) {
		const due = Math.min(count, ((performance.now() - started) / 1e3) * rate);
		while (sending.length < due) sending.push(publish(agent, { url, headers, body }).then((delay) => delays.push(delay)));
		await sleep(1);
	}
	await Promise.race([Promise.all(sending), sleep(patience)]);
	process.send({ delays, unanswered: count - delays.length });
});

/** The milliseconds until the answer; null where that is no acceptance. */
function publish(agent, { url, headers, body: { messages, ...more } }) {
	const started = performance.now();
	for (const { payload } of messages) payload.sent = Date.now();
	const body = JSON.stringify({ ...more, messages });
	return new Promise((settle) => {
		const sent = request(url, { agent, method: "POST", headers: { ...headers, "content-length": Buffer.byteLength(body) } }, (response) => {
			response.resume();
			response.once("end", () => settle(response.statusCode === 202 ? performance.now() - started : null));
		});
		sent.once("error", () => settle(null));
		sent.end(body);
	});
}
