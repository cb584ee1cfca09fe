import { type FormEvent, useEffect, useState } from "react";
import { createClient, type DefinitionsOf } from "realtime-worker/client";
import { usePresence, useRealtime, useTable } from "realtime-worker/react";
import type { tables } from "../server/tables.ts";
import { authClient } from "./auth.ts";

type App = DefinitionsOf<{ tables: typeof tables }> & { presence: { name: string } };

const api = (path: string, method: string, body?: object) =>
	fetch(path, { method, ...(body && { body: JSON.stringify(body), headers: { "content-type": "application/json" } }) });

const connect = (organizationId: string) =>
	createClient<App>(location.origin, { organizationId, getToken: async () => (await api("/realtime/token", "POST")).text() });

/** The shared list of tasks, which stays current as others change it. */
export function Tasks({ organizationId, name }: { organizationId: string; name: string }) {
	const [client] = useState(() => connect(organizationId));
	useEffect(() => {
		client.connect();
		return () => client.close();
	}, [client]);
	const { state } = useRealtime(client);
	const people = usePresence(client.presence, { name });
	const { rows, status } = useTable(client, "tasks", {
		query: async (signal) => (await fetch("/api/tasks", { signal })).json(),
		sort: (one, other) => one.createdAt.localeCompare(other.createdAt),
	});
	return (
		<>
			<header>
				<h1>Tasks</h1>
				<p data-testid="people">{people.map(({ metadata }) => metadata.name).sort().join(", ")}</p>
				<p data-testid="state">{state === "connected" ? status : state}</p>
				<button onClick={() => authClient.signOut()}>Sign out</button>
			</header>
			<ul>
				{rows.map(({ id, title, contact, isDone }) => (
					<li key={id}>
						<label>
							<input type="checkbox" checked={isDone} onChange={() => api(`/api/tasks/${id}`, "PATCH", { isDone: !isDone })} /> {title}
						</label>
						<span>{contact}</span>
					</li>
				))}
			</ul>
			<AddTask />
			<button onClick={() => api("/api/tasks", "DELETE")}>Clear what is done</button>
		</>
	);
}

function AddTask() {
	async function submit(event: FormEvent<HTMLFormElement>) {
		event.preventDefault();
		const form = event.currentTarget;
		await api("/api/tasks", "POST", Object.fromEntries(new FormData(form)));
		form.reset();
	}
	return (
		<form onSubmit={submit}>
			<label>Task <input name="title" required /></label>
			<label>Contact <input name="contact" type="email" required /></label>
			<button>Add</button>
		</form>
	);
}
