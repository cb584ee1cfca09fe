/**
 * Publishing where nobody listens: what is left is the request itself, and for the Worker reading it and keeping it.
 */
import { startBoth } from "./sides.mjs";
import { comparison, percentile } from "./table.mjs";

/** Publications of one measurement. */
const PUBLICATIONS = 1_000;

/** @param {{rounds: number}} options */
export async function nobody({ rounds }) {
	const sides = await startBoth();
	try {
		const series = sides.map((side) => ({ side, measured: [] }));
		for (let round = 0; round <= rounds; round += 1) {
			for (const { side, measured } of series) {
				const measurement = await publish(side);
				if (round > 0) measured.push(measurement);
			}
		}
		const [worker, bare] = series.map(({ measured }) => measured);
		const row = (name, unit, pick) => comparison(`publishing to nobody, ${name}`, unit, worker.map(pick), bare.map(pick));
		return [
			row("CPU", "µs", ({ cpu }) => cpu),
			row("latency, median", "ms", ({ latencies }) => percentile(latencies, 50)),
			row("latency, 99 %", "ms", ({ latencies }) => percentile(latencies, 99)),
		];
	} finally {
		await Promise.all(sides.map((side) => side.dispose()));
	}
}

async function publish(side) {
	const latencies = [];
	const before = side.cpu();
	for (let count = 0; count < PUBLICATIONS; count += 1) {
		const sent = performance.now();
		await side.publish("org_empty");
		latencies.push(performance.now() - sent);
	}
	return { cpu: (side.cpu() - before) / PUBLICATIONS, latencies };
}
