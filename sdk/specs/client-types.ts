/** What the types promise. It is compiled, and never run. */
import { type Change, createClient, type DefinitionsOf } from "../src/client/index.ts";
import { defineRealtime, defineTable, payload } from "../src/server/index.ts";
import { useBroadcast, useChanges, usePresence, useTable } from "../src/react/index.ts";

type Claim = { id: string; title: string; status: "open" | "closed" };
type App = {
	tables: { claims: Claim; people: { id: number; name: string } };
	broadcasts: { "extraction:started": { materialId: string }; ping: null };
	topics: { [room: `room:${string}`]: { cursor: { x: number }; typing: boolean } };
	presence: { name: string };
};

const client = createClient<App>("https://example.com", { organizationId: "org_1", getToken: async () => "token" });
createClient("https://example.com", { organizationId: "org_1", token: "token" });
// @ts-expect-error A token comes from somewhere.
createClient("https://example.com", { organizationId: "org_1" });
// @ts-expect-error From one place.
createClient("https://example.com", { organizationId: "org_1", token: "token", getToken: () => "token" });
// @ts-expect-error Of some organization.
createClient("https://example.com", { token: "token" });

client.on("claims", "INSERT", (change) => {
	const title: string = change.new.title;
	const old: null = change.old;
	// @ts-expect-error No such column.
	change.new.name;
	return [title, old];
});
client.on("claims", "DELETE", (change) => {
	const id: string | undefined = change.old.id;
	// @ts-expect-error A deleted row is gone.
	change.new.id;
	return id;
});
client.on("claims", "*", (change) => {
	// @ts-expect-error It may be a delete.
	change.new.id;
	if (change.eventType === "DELETE") return change.old.id;
	const status: "open" | "closed" = change.new.status;
	return status;
});
client.on("*", "INSERT", (change) => {
	if (change.table === "people") return change.new.name;
	const title: string = change.new.title;
	return title;
});
// @ts-expect-error No such table.
client.on("clams", "*", () => {});
// @ts-expect-error No such kind of change.
client.on("claims", "UPSERT", () => {});

client.on.broadcast("extraction:started", ({ payload }) => payload.materialId.length);
client.on.broadcast("*", (message) => {
	if (message.event === "extraction:started") return message.payload.materialId;
	const payload: null = message.payload;
	return payload;
});
// @ts-expect-error No such event.
client.on.broadcast("extraction:begun", () => {});

const room = client.topic("room:1");
room.on("cursor", ({ payload }) => payload.x.toFixed());
void room.send("typing", true);
// @ts-expect-error Of another type.
void room.send("cursor", { x: "1" });
// @ts-expect-error No such topic.
client.topic("hall:1");
room.presence.track({ name: "Ada" });
// @ts-expect-error Metadata has a name.
client.presence.track({ nom: "Ada" });

const { rows } = useTable(client, "claims", { query: async () => [], where: ({ status }) => status === "open" });
const first: Claim | undefined = rows[0];
// @ts-expect-error Rows of another table.
useTable(client, "claims", { query: async (): Promise<{ id: number; name: string }[]> => [] });
useChanges(client, "people", "UPDATE", ({ new: person }) => person.name);
useBroadcast(client, "extraction:started", ({ payload }) => payload.materialId);
const member: { name: string } | undefined = usePresence(room.presence, { name: "Ada" })[0]?.metadata;

// Without definitions, anything goes, as unknown.
const loose = createClient("https://example.com", { organizationId: "org_1", token: "token" });
loose.on("anything", "INSERT", ({ new: row }) => {
	// @ts-expect-error It is unknown.
	row["title"].length;
});
loose.on.broadcast("anything", ({ payload }) => {
	const unknown: unknown = payload;
	return unknown;
});

// The definitions that the API worker publishes by.
const tables = { claims: defineTable<Claim>({ requiredRoles: ["member"] }) };
const namespaces = [
	defineRealtime({ name: "extraction", events: { started: payload<{ materialId: string }>() } }),
	defineRealtime({ name: "presence", events: { joined: payload<{ userId: string }>() } }),
] as const;
type Shared = DefinitionsOf<{ tables: typeof tables; namespaces: typeof namespaces }>;
const shared = createClient<Shared>("https://example.com", { organizationId: "org_1", token: "token" });
shared.on("claims", "INSERT", ({ new: claim }) => claim.title.length);
shared.on.broadcast("extraction:started", ({ payload }) => payload.materialId.length);
shared.on.broadcast("presence:joined", ({ payload }) => payload.userId.length);
// @ts-expect-error No such event of that namespace.
shared.on.broadcast("extraction:joined", () => {});

export function apply(change: Change<Claim>): string | undefined {
	return change.eventType === "DELETE" ? change.old.id : change.new.id;
}
export const used = [first, member];
