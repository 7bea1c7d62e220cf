"""One base and many adapters behind OpenAI's API: requests, pool, scheduler, engine, protocol, api."""
