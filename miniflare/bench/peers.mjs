/**
 * The Worker beside what else people use: PartyServer on the same workerd, `ws` and socket.io on Node, and the bare object.
 * The same sockets, the same frames, the same masks by role; each is measured alone, one after the other.
 */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { Fleet } from "./fleet.mjs";
import { startBoth, startNode, startParty } from "./sides.mjs";
import { figure, median, percentile } from "./table.mjs";

export const PEERS_SOCKETS = 2_000;
const SOCKETS = 1_000;
const WARM_UP = 20;
const ROUNDS = 3;
const FOLDER = fileURLToPath(new URL("peers/", import.meta.url));
/** Of PartyServer's cost of a frame. */
const MAX_OF_PARTY = 0.8;

/** @param {{frames: number}} options each side sends so many in a round */
export async function peers({ frames }) {
	if (!existsSync(`${FOLDER}node_modules`)) execFileSync("npm", ["ci", "--no-audit", "--no-fund"], { cwd: FOLDER, stdio: "inherit" });
	const script = await bundle();
	const starts = [startWorkerAlone, () => startParty(script), () => startNode("ws"), () => startNode("socket.io"), startBareAlone];
	const measured = [];
	for (const start of starts) {
		measured.push(await measure(start, Math.ceil(frames / SOCKETS / ROUNDS)));
		console.error(`bench: peers, ${measured.at(-1).name}`);
	}
	return measured.flatMap((side) => rows(side, measured));
}

function rows({ name, ...measured }, [, party]) {
	const row = (what, unit, value, aim) => figure(`${name}: ${what}`, unit, value, aim);
	const isWorker = name === "worker";
	const overParty = measured.cpu.map((cost, round) => cost / party.cpu[round]);
	return [
		row("CPU per frame", "µs", median(measured.cpu)),
		...(isWorker ? [row("CPU per frame, over PartyServer's", "times", median(overParty), { most: MAX_OF_PARTY })] : []),
		row("deliveries a second", "/s", median(measured.deliveries)),
		row("publishing at half of that, p50", "ms", percentile(measured.latencies, 50)),
		row("publishing at half of that, p99", "ms", percentile(measured.latencies, 99)),
		row("joins a second", "/s", measured.joins),
		row("CPU per join", "µs", measured.cpuPerJoin),
		row("memory per idle socket", "KB", measured.kilobytes),
	];
}

async function measure(start, publications) {
	const side = await start();
	const fleet = new Fleet(PEERS_SOCKETS);
	try {
		await fleet.open(side, "org_first", SOCKETS);
		const before = { time: performance.now(), cpu: side.cpu(), memory: side.memory() };
		const group = await fleet.open(side, "org_peers", SOCKETS);
		const opened = {
			joins: SOCKETS / ((performance.now() - before.time) / 1e3),
			cpuPerJoin: (side.cpu() - before.cpu) / SOCKETS,
			kilobytes: (side.memory() - before.memory) / SOCKETS / 1024,
		};
		await send(side, group, WARM_UP);
		const [cpu, deliveries] = [[], []];
		for (let round = 0; round < ROUNDS; round += 1) {
			const begun = { time: performance.now(), cpu: side.cpu() };
			await send(side, group, publications);
			const count = publications * SOCKETS;
			cpu.push((side.cpu() - begun.cpu) / count);
			deliveries.push(count / ((performance.now() - begun.time) / 1e3));
		}
		const pace = (2_000 * SOCKETS) / median(deliveries);
		return { name: side.name, ...opened, cpu, deliveries, latencies: await atPace(side, group, publications, pace) };
	} finally {
		fleet.dispose();
		await side.dispose();
	}
}

/** Publishes one after the other, each when the one before has reached everyone. */
async function send(side, group, count) {
	for (let done = 0; done < count; done += 1) {
		const all = group.received();
		const delivered = await side.publish(group.organizationId);
		if (delivered !== SOCKETS) throw new Error(`${side.name}: ${delivered} frames were sent instead of ${SOCKETS}`);
		await all;
	}
}

/** Publishes every so many milliseconds; the time until the publisher is answered. */
async function atPace(side, group, count, milliseconds) {
	const latencies = [];
	const started = performance.now();
	for (let done = 0; done < count; done += 1) {
		const wait = started + done * milliseconds - performance.now();
		if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
		const sent = performance.now();
		const all = group.received();
		await side.publish(group.organizationId);
		latencies.push(performance.now() - sent);
		await all;
	}
	return latencies;
}

async function startWorkerAlone() {
	const [worker, bare] = await startBoth();
	await bare.dispose();
	return worker;
}

async function startBareAlone() {
	const [worker, bare] = await startBoth();
	await worker.dispose();
	return bare;
}

async function bundle() {
	const options = { bundle: true, format: "esm", target: "es2022", write: false, external: ["cloudflare:*"], minify: true };
	const { outputFiles } = await build({ entryPoints: [`${FOLDER}party.mjs`], ...options });
	return outputFiles[0].text;
}
