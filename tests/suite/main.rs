mod follower;
mod simulation;
