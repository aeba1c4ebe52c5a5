mod redis;
mod servers;
