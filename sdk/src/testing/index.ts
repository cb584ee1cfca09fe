/**
 * `realtime-worker/testing`: an in-memory realtime Worker, for an application's unit tests.
 *
 * @module
 */
import type { ClientOptions } from "../client/options.ts";
import type { RealtimeEnv } from "../server/realtime.ts";
import type { Tables } from "../server/table.ts";
import type { Channel } from "../view/channels.ts";
import type { Viewer } from "../view/viewer.ts";
import { TestSocket } from "./connection.ts";
import { Organization } from "./organization.ts";
import type { Publication } from "./rules.ts";

export type { Channel, Publication, TestSocket };

/** The options of the test server: the deployment's tables and channels. */
export interface TestServerOptions {
	/** Tables of `defineTable`. */
	readonly tables?: Tables;
	/** Channel policies, as in the Worker's `REALTIME`. */
	readonly channels?: readonly Channel[];
}

/** An in-memory realtime Worker. */
export interface TestServer {
	/** The address for `createClient`. */
	readonly url: string;
	/** The environment for `createRealtime`. */
	readonly env: RealtimeEnv;
	/** What was published through `env`, in order. */
	readonly published: readonly (Publication & { readonly organizationId: string })[];
	/** The options for a client of a viewer, in the organization `org_test` unless another is given. */
	as(viewer: Partial<Viewer>): ClientOptions;
	/**
	 * Resolves when everything in transit has arrived. What waits for a timer, such as a reconnecting client, does not
	 * count.
	 */
	settled(): Promise<void>;
	/** Breaks every connection, as a lost network does. Clients reconnect, and resume. */
	disconnect(): void;
}

/**
 * Creates an in-memory realtime Worker. It has the native protocol with the tables' rules, filters (except patterns),
 * topics, presence and recovery, using the same code as `view`. It has no limits, retains everything, and verifies no
 * token.
 *
 * @example
 * ```ts
 * import { createClient } from "realtime-worker/client";
 * import { createRealtime, defineTable } from "realtime-worker/server";
 * import { createTestServer } from "realtime-worker/testing";
 *
 * const tables = { claims: defineTable({ masking: { ssn: { type: "ssn", show: { roles: ["admin"] } } } }) };
 * const server = createTestServer({ tables });
 * const client = createClient(server.url, server.as({ userId: "u7", roles: ["member"] }));
 * client.on("claims", "INSERT", ({ new: claim }) => console.log(claim)); // ssn: "*****6789"
 *
 * await server.settled();
 * await createRealtime(server.env, { tables }).insert("claims", { id: "c1", ssn: "123-45-6789" }, "org_test");
 * await server.settled();
 * console.log(server.published.length);
 * client.close();
 * ```
 */
export function createTestServer({ tables = {}, channels = [] }: TestServerOptions = {}): TestServer {
	const organizations = new Map<string, Organization>();
	const published: (Publication & { organizationId: string })[] = [];
	const organization = (id: string) => {
		const found = organizations.get(id) ?? new Organization(id, { tables, channels });
		organizations.set(id, found);
		return found;
	};
	let acts = 0;
	const act = (what: () => unknown) => {
		acts += 1;
		queueMicrotask(what);
	};
	class Socket extends TestSocket {
		constructor(url: string) {
			super(organization(new URL(url).searchParams.get("organizationId") ?? ""), act);
		}
	}
	return {
		url: "http://realtime.test",
		env: { REALTIME: { fetch: async (_url, { body }) => Response.json(accept(JSON.parse(body)), { status: 202 }) }, ACCESS_TOKEN: "of the test server" },
		published,
		as: (viewer) => {
			const whole = { organizationId: "org_test", roles: [], ...viewer } as Viewer & { organizationId: string };
			const backoff = { base: 1, max: 1 };
			return { organizationId: whole.organizationId, token: JSON.stringify(whole), WebSocket: Socket, backoff };
		},
		async settled() {
			// Finished after a turn in which nothing was sent or passed on.
			for (let before = -1; before !== acts; ) {
				before = acts;
				await new Promise((resolve) => setTimeout(resolve));
			}
		},
		disconnect() {
			for (const { connections } of organizations.values()) for (const { socket } of connections) socket.close(1006);
		},
	};

	/** Accepts what `POST /broadcast` accepts, each id once. */
	function accept({ organizationId, messages, ...single }: { organizationId: string; messages?: Publication[] } & Publication) {
		const all = messages ?? [single];
		const news = all.filter(({ id }) => !published.some((one) => one.id === id && one.organizationId === organizationId));
		const one = organization(organizationId);
		const delivered = news.map((publication) => {
			published.push({ ...publication, organizationId });
			return one.publish(publication);
		});
		const sum = delivered.reduce((total, count) => total + count, 0);
		return { accepted: all.length, duplicate: news.length === 0, ...one.position, delivered: sum };
	}
}
