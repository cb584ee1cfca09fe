/**
 * What the server's specs share.
 */
import { connect } from "../../miniflare/client.mjs";
import { socketUrl, tokenOf } from "../../miniflare/fixture.mjs";

/**
 * Subscribes to a table like a Supabase client. The returned function resolves to the column types of the next change,
 * by name.
 */
export async function listenToTypes(server, table) {
	const client = await connect(socketUrl(server, { apikey: tokenOf("ada", ["admin"]), vsn: "1.0.0" }));
	const config = { postgres_changes: [{ event: "*", schema: "public", table }] };
	client.send({ topic: "realtime:db", event: "phx_join", payload: { config }, ref: "1", join_ref: "1" });
	await client.next(({ event, payload }) => event === "system" && payload.status === "ok");
	return async () => {
		const { payload } = await client.next(({ event }) => event === "postgres_changes");
		await client.close();
		return Object.fromEntries(payload.data.columns.map(({ name, type }) => [name, type]));
	};
}
