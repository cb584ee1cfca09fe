/**
 * Publishing where nobody listens: what is left is the request itself, and for the Worker reading it and keeping it. A
 * bare object that keeps what it sends in one row tells how much of the difference is the keeping.
 */
import { startBoth } from "./sides.mjs";
import { comparison, percentile } from "./table.mjs";

/** Publications of one measurement. */
const PUBLICATIONS = 500;

/** @param {{rounds: number}} options */
export async function nobody({ rounds }) {
	const [worker, bare] = await startBoth();
	const series = {
		worker: { side: worker, publish: () => worker.publish("org_kept") },
		unkept: { side: worker, publish: () => worker.publishUnkept("org_unkept") },
		bare: { side: bare, publish: () => bare.publish("org_unkept") },
		keeping: { side: bare, publish: () => bare.publishKept("org_kept") },
	};
	try {
		const measured = await measure(Object.values(series), 2 * rounds);
		const [workers, unkept, bares, keeping] = measured;
		return [
			...rows("publishing to nobody", workers, bares),
			...rows("… against a bare object that keeps it too", workers, keeping),
			...rows("… that neither keeps", unkept, bares),
		];
	} finally {
		await Promise.all([worker, bare].map((side) => side.dispose()));
	}
}

/** In turns, so that what slows one down slows all. The first turn warms up. */
async function measure(series, rounds) {
	const measured = series.map(() => []);
	for (let round = 0; round <= rounds; round += 1) {
		for (const [index, one] of series.entries()) {
			const measurement = await publish(one);
			if (round > 0) measured[index].push(measurement);
		}
	}
	return measured;
}

async function publish({ side, publish }) {
	const latencies = [];
	const before = side.cpu();
	for (let count = 0; count < PUBLICATIONS; count += 1) {
		const sent = performance.now();
		await publish();
		latencies.push(performance.now() - sent);
	}
	return { cpu: (side.cpu() - before) / PUBLICATIONS, latencies };
}

function rows(name, workers, bares) {
	const row = (of, unit, pick) => comparison(`${name}, ${of}`, unit, workers.map(pick), bares.map(pick));
	return [
		row("CPU", "µs", ({ cpu }) => cpu),
		row("latency, median", "ms", ({ latencies }) => percentile(latencies, 50)),
		row("latency, 99 %", "ms", ({ latencies }) => percentile(latencies, 99)),
	];
}
