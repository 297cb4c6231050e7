// The admin API as the scripts use it: one function a request, errors with the server's own words.

export function client(base, token) {
  const call = async (method, path, body) => {
    const response = await fetch(base + path, {
      method,
      headers: {
        ...(token ? { Authorization: `Token ${token}` } : {}),
        ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await response.text();
    if (!response.ok) {
      const error = new Error(`${method} ${path} answered ${response.status}: ${text.slice(0, 500)}`);
      error.status = response.status;
      throw error;
    }
    return text === '' ? undefined : JSON.parse(text);
  };
  return {
    get: (path) => call('GET', path),
    post: (path, body) => call('POST', path, body),
    put: (path, body) => call('PUT', path, body),
    patch: (path, body) => call('PATCH', path, body),
    delete: (path) => call('DELETE', path),
  };
}

/** Asks `probe` every few milliseconds until it gives something truthy; undefined after `limit` ms. */
export async function until(probe, limit) {
  const end = performance.now() + limit;
  do {
    const found = await probe().catch(() => undefined);
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 5));
  } while (performance.now() < end);
  return undefined;
}
